"""The rows of a fastText model that a text has, and their sum, compiled: the first half of a prediction.

The library makes a string of every n-gram of every word and looks it up in a hash map; here n-grams are hashed where
they are and looked up in a bitmap. Sums are in the library's order and precision (fastText 0.9.2, ``src/dictionary.cc``,
``quantmatrix.cc``, ``productquantizer.cc``; MIT).

Legend: W words of the model, D dimensions, L labels, F rows of the input matrix: of the words, then of n-grams.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from curate.base.compiled import inner, tiny
from curate.base.text import Bytes
from curate.quality.lines import skip_space
from curate.quality.octets import hash_bytes, starts_with

Rows = NDArray[np.float32]

CODES = 256
"""Centroids of each part of a quantised row."""

BUFFER = 64
"""Rows that are known before they are added: meanwhile the processor fetches them."""
_LONG_WORD = 48
"""Half of a text ends behind the word in its middle; within it where as many bytes are left, as in writing without spaces."""
_LINE = 64
"""Bytes that the processor fetches at once."""
_FNV_BASIS, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_NEXT_WORD = np.uint64(116049371)
"""Factor of the hash of word n-grams."""
_LABEL = np.frombuffer(b"__label__", np.uint8)
_END = np.frombuffer(b"</s>", np.uint8)
_ONE = np.uint64(1)
_FLOAT = np.dtype(np.float32).itemsize


class ModelTables(NamedTuple):
    """What a prediction reads of a model file."""

    options: NDArray[np.int64]
    """int64[9]: least and most characters of an n-gram, buckets of hashes, most words of an n-gram, W, row of the end of a
    text or −1, loss, how a bucket's row is found (−1: W + bucket; 0: it has none; 1: ``rows_of``), D."""
    words: NDArray[np.uint64]
    """uint64[2 * slots], open addressing: hash of a word or label (0 where empty), then its place; labels are W and more."""
    kept: NDArray[np.uint64]
    """Bitmap of the buckets that have a row."""
    rows_of: NDArray[np.int32]
    """int32[buckets]: the row of a bucket, where it has one."""
    rows: Bytes
    """float32[F, D] as bytes, aligned or not: a part of the mapped file; empty where the matrix is quantised and large."""
    codes: Bytes
    """uint8[F * parts]: which centroid each part of a row is, where ``rows`` is empty."""
    norms: Rows
    """float32[F]: what multiplies the centroids of a row."""
    centroids: Rows
    """float32[D * CODES]."""
    parts: NDArray[np.int64]
    """int64[3]: parts of a row, dimensions of a part, of the last part."""
    outputs: Rows
    """The output matrix: float32[D, L]; of the inner nodes, float32[L, D], where the loss is hierarchical."""
    tree: NDArray[np.int64]
    """int64[2L − 1, 2]: left and right child of each node, −1 for labels; empty where the loss is not hierarchical."""
    sigmoids: Rows
    """float32[SIGMOID_CELLS + 1]: the logistic function, looked up."""


class Room(NamedTuple):
    """Memory of a prediction."""

    word: Bytes
    """The word between its marks."""
    hashes: NDArray[np.int32]
    """Of the words of a text, where there are word n-grams."""
    ahead: NDArray[np.int64]
    """int64[BUFFER]: rows to add."""
    hidden: Rows
    """float32[D]: the sum of the rows of a text."""
    mean: Rows
    """float32[D]."""
    half: Rows
    """float32[D]: the sum of the rows of the first half."""
    marks: NDArray[np.int64]
    """int64[3]: rows of ``ahead`` that were added already; rows and words of the first half, −1 before its end."""
    scores: Rows
    """float32[L]: probabilities of the labels."""
    nodes: Rows
    """float32[2L]: logarithms of the probabilities of the nodes of a tree."""


@intrinsic
def _float_at(typing: Any, data: Any, at: Any) -> Any:
    """float32 of the four bytes of ``data`` from ``at`` on, aligned or not; they must all be there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        load = builder.load(builder.bitcast(pointer, context.get_value_type(types.float32).as_pointer()))
        load.align = 1
        return load

    return types.float32(data, types.int64), generate


@intrinsic
def _prefetch(typing: Any, data: Any, at: Any) -> Any:
    """Ask for the memory around byte ``at`` of ``data``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        number = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", (), ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        )
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(data, types.int64), generate


@inner
def _is_space(b: int) -> bool:
    """Whether a byte ends a word."""
    return b == 32 or 9 <= b <= 13 or b == 0


@tiny
def _place_of_word(words: NDArray[np.uint64], h: np.uint64) -> int:
    mask = np.uint64((words.shape[0] >> 1) - 1)
    slot = (h ^ (h >> np.uint64(32))) & mask
    while words[slot << _ONE] != 0:
        if words[slot << _ONE] == h:
            return np.int64(words[(slot << _ONE) + _ONE])
        slot = (slot + _ONE) & mask
    return -1


@tiny
def _extended(h: np.uint32, b: np.uint8) -> np.uint32:
    """FNV-1a as the library has it: bytes are signed."""
    return np.uint32((h ^ np.uint32(np.int64(np.int8(b)) & 0xFFFFFFFF)) * _FNV_PRIME)


@inner
def _add_coded_row(model: ModelTables, row: int, hidden: Rows) -> None:
    n_parts, of_part, of_last = model.parts
    norm, first = model.norms[row], row * n_parts
    for part in range(n_parts):
        size = of_last if part == n_parts - 1 else of_part
        at = part * CODES * of_part + np.int64(model.codes[first + part]) * size
        for k in range(size):
            hidden[part * of_part + k] += norm * model.centroids[at + k]


@inner
def _add_rows(model: ModelTables, room: Room, n: int) -> None:
    """Add the rows ``room.ahead[:n]`` that were not added yet, one after the other."""
    ahead, hidden, i = room.ahead, room.hidden, room.marks[0]
    room.marks[0] = n
    width = hidden.shape[0]
    if model.rows.shape[0] == 0:
        while i < n:
            _add_coded_row(model, ahead[i], hidden)
            i += 1
        return
    size = width * _FLOAT
    # Four at a time: the sums are in the same order, and are read and written a fourth as often.
    while i + 4 <= n:
        a, b, c, d = ahead[i] * size, ahead[i + 1] * size, ahead[i + 2] * size, ahead[i + 3] * size
        for k in range(width):
            at = k * _FLOAT
            total = (hidden[k] + _float_at(model.rows, a + at)) + _float_at(model.rows, b + at)
            hidden[k] = (total + _float_at(model.rows, c + at)) + _float_at(model.rows, d + at)
        i += 4
    while i < n:
        a = ahead[i] * size
        for k in range(width):
            hidden[k] += _float_at(model.rows, a + k * _FLOAT)
        i += 1


@tiny
def _put(row: int, count: int, model: ModelTables, room: Room) -> int:
    """``count`` + 1 rows that were put, after ``row`` is put among those to be added."""
    place = count & (BUFFER - 1)
    if place == 0 and count > 0:
        _add_rows(model, room, BUFFER)
        room.marks[0] = 0
    room.ahead[place] = row
    if model.rows.shape[0]:
        first = row * room.hidden.shape[0] * _FLOAT
        _prefetch(model.rows, first)
        _prefetch(model.rows, first + _LINE)
    return count + 1


@tiny
def _put_bucket(bucket: np.uint64, count: int, model: ModelTables, room: Room) -> int:
    """:func:`_put` of the row of a bucket, where it has one."""
    found = model.options[7]
    if found < 0:
        return _put(model.options[4] + np.int64(bucket), count, model, room)
    if found > 0 and (model.kept[bucket >> np.uint64(6)] >> (bucket & np.uint64(63))) & _ONE:
        return _put(np.int64(model.rows_of[bucket]), count, model, room)
    return count


@inner
def _add_put(count: int, model: ModelTables, room: Room) -> None:
    """Add what was put and not added yet."""
    if count > 0:
        _add_rows(model, room, ((count - 1) & (BUFFER - 1)) + 1)


@inner
def _end_half(count: int, n_words: int, model: ModelTables, room: Room) -> None:
    """The first half of a text ends here."""
    _add_put(count, model, room)
    room.marks[1], room.marks[2] = count, n_words
    for k in range(room.hidden.shape[0]):
        room.half[k] = room.hidden[k]


@inner
def _put_ngrams(size: int, middle: int, n_words: int, count: int, model: ModelTables, room: Room) -> int:
    """:func:`_put` of the n-grams of ``room.word[:size]``, a word between its marks; half of the text ends at ``middle``."""
    least, most, buckets = model.options[0], model.options[1], np.uint64(model.options[2])
    word = room.word
    for i in range(size):
        if word[i] & 0xC0 == 0x80:
            continue
        if i >= middle and room.marks[1] < 0:
            _end_half(count, n_words, model, room)
        h = _FNV_BASIS
        j = i
        n = 1
        while j < size and n <= most:
            h = _extended(h, word[j])
            j += 1
            while j < size and word[j] & 0xC0 == 0x80:
                h = _extended(h, word[j])
                j += 1
            if n >= least and not (n == 1 and (i == 0 or j == size)):
                count = _put_bucket(np.uint64(h) % buckets, count, model, room)
            n += 1
    return count


@tiny
def _put_word_ngrams(n_words: int, count: int, model: ModelTables, room: Room) -> int:
    """:func:`_put` of the n-grams of the words of a text."""
    buckets, most = np.uint64(model.options[2]), model.options[3]
    _add_put(count, model, room)
    before = count
    for k in range(room.hidden.shape[0]):
        room.half[k] -= room.hidden[k]
    for i in range(n_words):
        if i == room.marks[2]:
            _add_put(count, model, room)
            room.marks[1] += count - before
            for k in range(room.hidden.shape[0]):
                room.half[k] += room.hidden[k]
        h = np.uint64(np.int64(room.hashes[i]))
        for j in range(i + 1, min(n_words, i + most)):
            h = h * _NEXT_WORD + np.uint64(np.int64(room.hashes[j]))
            count = _put_bucket(h % buckets, count, model, room)
    return count


@inner
def _fnv(data: Bytes, at: int, end: int) -> np.int32:
    h = _FNV_BASIS
    for k in range(at, end):
        h = _extended(h, data[k])
    return np.int32(h)


@inner
def is_blank(data: Bytes, at: int, end: int) -> bool:
    """Whether there is white space only (str.isspace), or bytes 0."""
    while at < end:
        at = skip_space(data, at, end)
        if at < end and data[at] != 0:
            return False
        at += 1
    return True


@inner
def _put_text(data: Bytes, at: int, end: int, model: ModelTables, room: Room) -> int:
    """Rows of the words and n-grams of a text that were put."""
    n_rows_of_words, has_word_ngrams, has_ngrams = model.options[4], model.options[3] > 1, model.options[1] > 0
    count, n_words = 0, 0
    middle = at + (end - at) // 2
    while True:
        while at < end and _is_space(data[at]):
            at += 1
        start = at
        while at < end and not _is_space(data[at]):
            at += 1
        size = at - start
        if size == 0 or (size == _END.shape[0] and starts_with(data, start, at, _END)):
            break  # the newline that the library reads as this word
        place = _place_of_word(model.words, hash_bytes(data, start, at))
        if place >= n_rows_of_words or (place < 0 and starts_with(data, start, at, _LABEL)):
            continue
        if start >= middle and room.marks[1] < 0:
            _end_half(count, n_words, model, room)
        if place >= 0:
            count = _put(place, count, model, room)
        if has_ngrams:
            for k in range(size):
                room.word[k + 1] = data[start + k]
            room.word[size + 1] = 62
            inside = middle - start + 1 if at - middle > _LONG_WORD else size + 2
            count = _put_ngrams(size + 2, inside, n_words, count, model, room)
        if has_word_ngrams:
            room.hashes[n_words] = _fnv(data, start, at)
            n_words += 1
    if model.options[5] >= 0:
        count = _put(model.options[5], count, model, room)
    if has_word_ngrams:
        room.hashes[n_words] = _fnv(_END, 0, _END.shape[0])
        count = _put_word_ngrams(n_words + 1, count, model, room)
    return count


@inner
def sum_rows(data: Bytes, at: int, end: int, model: ModelTables, room: Room) -> int:
    """Number of rows of a text, whose sum is then ``room.hidden``; that of its first half is ``room.half``."""
    for k in range(room.hidden.shape[0]):
        room.hidden[k] = np.float32(0)
    room.marks[0], room.marks[1], room.marks[2] = 0, -1, -1
    count = _put_text(data, at, end, model, room)
    _add_put(count, model, room)
    return count


@tiny
def scale(rows: Rows, count: int) -> None:
    share = np.float32(1.0 / count)
    for k in range(rows.shape[0]):
        rows[k] *= share
