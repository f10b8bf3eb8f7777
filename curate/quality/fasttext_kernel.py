"""What a supervised fastText model says of many texts, in one compiled pass: what the library computes, several times faster.

The library makes a string of every n-gram of every word and looks it up in a hash map; here n-grams are hashed where
they are and looked up in a bitmap. Sums are in the library's order and precision (fastText 0.9.2, ``src/dictionary.cc``,
``quantmatrix.cc``, ``productquantizer.cc``, ``loss.cc``; MIT). :mod:`curate.quality.fasttext_file` reads the file.

Legend: W words of the model, D dimensions, L labels, F rows of the input matrix: of the words, then of n-grams; N texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from curate.base.columns import read_only
from curate.base.compiled import inner, kernel, tiny
from curate.base.text import Bytes, Offsets
from curate.quality.lines import skip_space
from curate.quality.octets import hash_bytes, longest_text, starts_with

Rows = NDArray[np.float32]
Scores = NDArray[np.float64]

HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
"""``loss_name`` of ``src/args.h``."""
CODES = 256
"""Centroids of each part of a quantised row."""
SIGMOID_CELLS, SIGMOID_END = 512, 8
"""``SIGMOID_TABLE_SIZE`` and ``MAX_SIGMOID`` of ``src/loss.cc``: the logistic function is looked up, not computed."""

UNTOLD = -2
"""The label of a text whose numbers are none: the model is damaged."""

_BUFFER = 64
"""Rows that are known before they are added: meanwhile the processor fetches them."""
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
    """float32[SIGMOID_CELLS + 1]."""


class _Room(NamedTuple):
    """Memory of a prediction."""

    word: Bytes
    """The word between its marks."""
    hashes: NDArray[np.int32]
    """Of the words of a text, where there are word n-grams."""
    ahead: NDArray[np.int64]
    """int64[_BUFFER]: rows to add."""
    hidden: Rows
    """float32[D]."""
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
def _add_rows(model: ModelTables, ahead: NDArray[np.int64], n: int, hidden: Rows) -> None:
    """Add the rows ``ahead[:n]``, one after the other."""
    width = hidden.shape[0]
    if model.rows.shape[0] == 0:
        for i in range(n):
            _add_coded_row(model, ahead[i], hidden)
        return
    size = width * _FLOAT
    i = 0
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
def _put(row: int, count: int, model: ModelTables, room: _Room) -> int:
    """``count`` + 1 rows that were put, after ``row`` is put among those to be added."""
    place = count & (_BUFFER - 1)
    if place == 0 and count > 0:
        _add_rows(model, room.ahead, _BUFFER, room.hidden)
    room.ahead[place] = row
    if model.rows.shape[0]:
        first = row * room.hidden.shape[0] * _FLOAT
        _prefetch(model.rows, first)
        _prefetch(model.rows, first + _LINE)
    return count + 1


@tiny
def _put_bucket(bucket: np.uint64, count: int, model: ModelTables, room: _Room) -> int:
    """:func:`_put` of the row of a bucket, where it has one."""
    found = model.options[7]
    if found < 0:
        return _put(model.options[4] + np.int64(bucket), count, model, room)
    if found > 0 and (model.kept[bucket >> np.uint64(6)] >> (bucket & np.uint64(63))) & _ONE:
        return _put(np.int64(model.rows_of[bucket]), count, model, room)
    return count


@inner
def _put_ngrams(size: int, count: int, model: ModelTables, room: _Room) -> int:
    """:func:`_put` of the n-grams of ``room.word[:size]``, a word between its marks."""
    least, most, buckets = model.options[0], model.options[1], np.uint64(model.options[2])
    word = room.word
    for i in range(size):
        if word[i] & 0xC0 == 0x80:
            continue
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
def _put_word_ngrams(n_words: int, count: int, model: ModelTables, room: _Room) -> int:
    """:func:`_put` of the n-grams of the words of a text."""
    buckets, most = np.uint64(model.options[2]), model.options[3]
    for i in range(n_words):
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
def _is_blank(data: Bytes, at: int, end: int) -> bool:
    """Whether there is white space only (str.isspace), or bytes 0."""
    while at < end:
        at = skip_space(data, at, end)
        if at < end and data[at] != 0:
            return False
        at += 1
    return True


@inner
def _put_text(data: Bytes, at: int, end: int, model: ModelTables, room: _Room) -> int:
    """Rows of the words and n-grams of a text that were put."""
    n_rows_of_words, has_word_ngrams, has_ngrams = model.options[4], model.options[3] > 1, model.options[1] > 0
    count, n_words = 0, 0
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
        if place >= 0:
            count = _put(place, count, model, room)
        if has_ngrams:
            for k in range(size):
                room.word[k + 1] = data[start + k]
            room.word[size + 1] = 62
            count = _put_ngrams(size + 2, count, model, room)
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
def _average(data: Bytes, at: int, end: int, model: ModelTables, room: _Room) -> int:
    """Number of rows of a text, whose mean is then ``room.hidden``."""
    hidden = room.hidden
    for k in range(hidden.shape[0]):
        hidden[k] = np.float32(0)
    count = _put_text(data, at, end, model, room)
    if count == 0:
        return 0
    _add_rows(model, room.ahead, ((count - 1) & (_BUFFER - 1)) + 1, hidden)
    share = np.float32(1.0 / count)
    for k in range(hidden.shape[0]):
        hidden[k] *= share
    return count


@tiny
def _log(x: np.float32) -> np.float32:
    return np.float32(np.log(np.float64(x) + 1e-5))


@inner
def _score_by_tree(model: ModelTables, room: _Room) -> None:
    """The probabilities of the labels of a hierarchical model, from the root down; 0 below the least that the library tells."""
    tree, nodes = model.tree, room.nodes
    n_labels = room.scores.shape[0]
    nodes[2 * n_labels - 2] = np.float32(0)
    for node in range(2 * n_labels - 2, n_labels - 1, -1):
        f = np.float32(0)
        for k in range(room.hidden.shape[0]):
            f += model.outputs[node - n_labels, k] * room.hidden[k]
        p = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-f)))
        nodes[tree[node, 0]] = nodes[node] + _log(np.float32(1.0 - np.float64(p)))
        nodes[tree[node, 1]] = nodes[node] + _log(p)
    for l in range(n_labels):
        room.scores[l] = np.exp(nodes[l]) if nodes[l] >= _log(np.float32(0)) else np.float32(0)


@inner
def _score_flat(model: ModelTables, room: _Room) -> None:
    """The probabilities of the labels where each has a row."""
    scores, outputs = room.scores, model.outputs
    n = scores.shape[0]
    for l in range(n):
        scores[l] = np.float32(0)
    # Label by label in the inner loop: each sum is in the library's order, and the processor makes many at once.
    for k in range(room.hidden.shape[0]):
        h = room.hidden[k]
        for l in range(n):
            scores[l] += outputs[k, l] * h
    if model.options[6] == SOFTMAX:
        top = scores[0]
        for l in range(n):
            top = max(top, scores[l])
        total = np.float32(0)
        for l in range(n):
            scores[l] = np.exp(scores[l] - top)
            total += scores[l]
        for l in range(n):
            scores[l] = scores[l] / total
        return
    for l in range(n):
        x = scores[l]
        if x < -SIGMOID_END:
            scores[l] = np.float32(0)
        elif x > SIGMOID_END:
            scores[l] = np.float32(1)
        else:
            cell = np.float32(np.float32(x + np.float32(SIGMOID_END)) * np.float32(SIGMOID_CELLS))
            scores[l] = model.sigmoids[np.int64(cell / np.float32(2 * SIGMOID_END))]


@inner
def _is_number(room: _Room) -> bool:
    """Whether no dimension of the text is infinite or no number."""
    total = np.float32(0)
    for k in range(room.hidden.shape[0]):
        total += np.abs(room.hidden[k])
    return np.isfinite(total)


@inner
def _best_by_tree(model: ModelTables, room: _Room, stack: Offsets) -> tuple[int, np.float32]:
    """(label, its score) of the most probable label; (−1, 0) where none reaches the least that the library tells."""
    tree, logs = model.tree, room.nodes
    n_labels = room.scores.shape[0]
    best, best_score = -1, np.float32(0)
    filled = 1
    stack[0], logs[0] = 2 * n_labels - 2, np.float32(0)
    while filled:
        filled -= 1
        node, so_far = stack[filled], logs[filled]
        if so_far < _log(np.float32(0)) or (best >= 0 and so_far < best_score):
            continue
        if tree[node, 0] < 0:
            if best < 0 or so_far > best_score:
                best, best_score = node, so_far
            continue
        f = np.float32(0)
        for k in range(room.hidden.shape[0]):
            f += model.outputs[node - n_labels, k] * room.hidden[k]
        p = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-f)))
        # The left child is taken first, so it is put last.
        stack[filled], logs[filled] = tree[node, 1], so_far + _log(p)
        stack[filled + 1], logs[filled + 1] = tree[node, 0], so_far + _log(np.float32(1.0 - np.float64(p)))
        filled += 2
    return best, best_score


@inner
def _best_flat(scores: Rows) -> tuple[int, np.float32]:
    """(label, logarithm of its probability) of the most probable label: of those with the same logarithm the last."""
    top = scores[0]
    for l in range(1, scores.shape[0]):
        top = max(top, scores[l])
    best, log = 0, _log(top)
    for l in range(scores.shape[0] - 1, -1, -1):
        if scores[l] >= np.float32(0.999) * top and _log(scores[l]) == log:
            best = l
            break
    return best, log


@kernel
def _predict(
    data: Bytes,
    offsets: Offsets,
    ends: Offsets,
    model: ModelTables,
    wanted: NDArray[np.int64],
    label: Offsets,
    score: Scores,
    scores: Scores,
) -> None:
    dimensions, is_tree = model.options[8], model.options[6] == HIERARCHICAL
    n_labels = model.outputs.shape[0 if is_tree else 1]
    longest = longest_text(offsets, ends)
    n_nodes = 2 * n_labels if is_tree else 0
    room = _Room(
        np.empty(longest + 2 if model.options[1] > 0 else 1, np.uint8),
        np.empty(longest // 2 + 2 if model.options[3] > 1 else 0, np.int32),
        np.empty(_BUFFER, np.int64),
        np.empty(dimensions, np.float32),
        np.empty(n_labels, np.float32),
        np.empty(n_nodes, np.float32),
    )
    stack = np.empty(n_nodes, np.int64)
    room.word[0] = 60
    for d in range(ends.shape[0]):
        if _is_blank(data, offsets[d], ends[d]) or _average(data, offsets[d], ends[d], model, room) == 0:
            continue
        if is_tree:
            best, best_score = _best_by_tree(model, room, stack)
            if wanted.shape[0]:
                _score_by_tree(model, room)
        else:
            _score_flat(model, room)
            best, best_score = _best_flat(room.scores)
        label[d] = best if _is_number(room) and best_score == best_score else UNTOLD
        if best >= 0:
            score[d] = np.exp(best_score)
        for k in range(wanted.shape[0]):
            told = room.scores[wanted[k]]
            scores[d, k] = told if is_tree else np.exp(_log(told))


class FastTextModel(NamedTuple):
    """A model that can be predicted with."""

    labels: list[str]
    tables: ModelTables

    def predict(
        self, data: Bytes, offsets: Offsets, ends: Offsets, wanted: Sequence[int] = ()
    ) -> tuple[NDArray[np.int64], Scores, Scores]:
        """(label, its probability, those of other labels) of every text ``data[offsets[i]:ends[i]]``.

        A newline or a byte 0 is white space, as it is to the library once newlines are spaces.

        Args:
            data: texts in UTF-8.
            offsets: where they begin.
            ends: where they end.
            wanted: places in ``labels`` of the labels whose probabilities are told, too.

        Returns:
            int64[N], −1 where a text is blank; float64[N] and float64[N, len(wanted)], 0 there.

        Raises:
            ValueError: the model gives no number for a text.
        """
        n = len(ends)
        label, score, scores = np.full(n, -1, np.int64), np.zeros(n), np.zeros((n, len(wanted)))
        places = np.array(wanted, np.int64)
        _predict(read_only(data), read_only(offsets), ends, self.tables, places, label, score, scores)
        if (label == UNTOLD).any():
            raise ValueError("its weights are no numbers")
        return label, score, scores
