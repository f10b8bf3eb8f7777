"""The top label of many texts by a fastText model, in one compiled pass: what the library computes, several times faster.

The library builds a string for every n-gram of every word and looks it up in a hash map; here n-grams are hashed where
they lie and looked up in a bitmap. Only models like the published language models are taken: quantised input, words one
by one, hierarchical softmax. Sums are in the library's order and precision (fastText 0.9.2, ``src/dictionary.cc``,
``quantmatrix.cc``, ``productquantizer.cc``, ``loss.cc``; MIT).

Legend: W words of the model, D dimensions, L labels, F rows of the input matrix: of the words, then of n-grams.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.columns import read_only
from curate.base.compiled import inner, kernel, tiny
from curate.base.text import Bytes, Offsets
from curate.quality.lines import skip_space
from curate.quality.octets import hash_bytes, longest_text, starts_with
from curate.quality.words import word_hash

_HIERARCHICAL = 1
"""``loss_name::hs``."""
_CODES = 256
_UNJOINED = 10**15
"""Weight of a node of the tree that has no children yet: more than all labels together."""
_FNV_BASIS, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)
_LABEL = np.frombuffer(b"__label__", np.uint8)
_END = np.frombuffer(b"</s>", np.uint8)
_ONE = np.uint64(1)


Rows = NDArray[np.float32]


class ModelTables(NamedTuple):
    """What a prediction reads of a model file."""

    options: NDArray[np.int64]
    """int64[5]: least and most characters of an n-gram, buckets of their hashes, W, row of the end of a text or −1."""
    words: NDArray[np.uint64]
    """uint64[2 * slots], open addressing: hash of a word (0 where empty), then its row, or the number of rows for a label."""
    kept: NDArray[np.uint64]
    """Bitmap of the buckets that have a row."""
    rows_of: NDArray[np.int32]
    """int32[buckets]: the row of a bucket, where it has one."""
    rows: Rows
    """float32[F, D]."""
    tree: NDArray[np.int64]
    """int64[2L − 1, 2]: left and right child of each node; −1 for labels."""
    nodes: Rows
    """float32[L, D]: the output matrix, of the inner nodes."""


class SubwordModel(NamedTuple):
    """A model that can be predicted with."""

    labels: list[str]
    tables: ModelTables

    def predict(self, data: Bytes, offsets: Offsets, ends: Offsets) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(label int64[N], its probability float64[N]) of every text ``data[offsets[i]:ends[i]]``; −1 and 0 where it is blank.

        A newline or a byte 0 is white space, as it is to the library once newlines are spaces.
        """
        label, score = np.full(len(ends), -1, np.int64), np.zeros(len(ends))
        _predict(read_only(data), read_only(offsets), ends, self.tables, label, score)
        return label, score


@inner
def _is_space(b: int) -> bool:
    """Whether a byte ends a word."""
    return b == 32 or 9 <= b <= 13 or b == 0


@tiny
def _row_of_word(words: NDArray[np.uint64], h: np.uint64) -> int:
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
def _add_row(rows: NDArray[np.float32], row: int, hidden: NDArray[np.float32]) -> None:
    for k in range(hidden.shape[0]):
        hidden[k] += rows[row, k]


@inner
def _add_ngrams(word: Bytes, size: int, model: ModelTables, hidden: Rows) -> int:
    """Number of n-grams of ``word[:size]``, a word between its marks, that have a row, after these were added."""
    options, _, kept, rows_of, rows, _, _ = model
    least, most, buckets = options[0], options[1], np.uint64(options[2])
    added = 0
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
                bucket = np.uint64(h) % buckets
                if (kept[bucket >> np.uint64(6)] >> (bucket & np.uint64(63))) & _ONE:
                    _add_row(rows, rows_of[bucket], hidden)
                    added += 1
            n += 1
    return added


@inner
def _is_blank(data: Bytes, at: int, end: int) -> bool:
    """Whether there is white space only (str.isspace), or bytes 0."""
    while at < end:
        at = skip_space(data, at, end)
        if at < end and data[at] != 0:
            return False
        at += 1
    return True


@tiny
def _log(x: np.float32) -> np.float32:
    return np.float32(np.log(np.float64(x) + 1e-5))


@tiny
def _add_text(data: Bytes, at: int, end: int, model: ModelTables, word: Bytes, hidden: Rows) -> int:
    """Number of words and n-grams of a text that have a row, after these were added."""
    options, words, _, _, rows, _, _ = model
    count = 0
    while True:
        while at < end and _is_space(data[at]):
            at += 1
        start = at
        while at < end and not _is_space(data[at]):
            at += 1
        size = at - start
        if size == 0 or (size == _END.shape[0] and starts_with(data, start, at, _END)):
            break  # the newline that the library reads as this word
        row = _row_of_word(words, hash_bytes(data, start, at))
        if row == rows.shape[0] or (row < 0 and starts_with(data, start, at, _LABEL)):
            continue
        if row >= 0:
            _add_row(rows, row, hidden)
            count += 1
        for k in range(size):
            word[k + 1] = data[start + k]
        word[size + 1] = 62
        count += _add_ngrams(word, size + 2, model, hidden)
    if options[4] >= 0:
        _add_row(rows, options[4], hidden)
        count += 1
    return count


@tiny
def _best_label(hidden: Rows, model: ModelTables, stack: NDArray[np.int64], logs: Rows) -> tuple[int, np.float32]:
    """(label, logarithm of its probability) of the most probable label; (−1, 0) without one."""
    tree, nodes = model.tree, model.nodes
    n_labels = nodes.shape[0]
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
        for k in range(hidden.shape[0]):
            f += nodes[node - n_labels, k] * hidden[k]
        p = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-f)))
        # The left child is taken first, so it is put last.
        stack[filled], logs[filled] = tree[node, 1], so_far + _log(p)
        stack[filled + 1], logs[filled + 1] = tree[node, 0], so_far + _log(np.float32(1.0 - np.float64(p)))
        filled += 2
    return best, best_score


@kernel
def _predict(
    data: Bytes, offsets: Offsets, ends: Offsets, model: ModelTables, label: Offsets, score: NDArray[np.float64]
) -> None:
    hidden, depth = np.empty(model.rows.shape[1], np.float32), 2 * model.nodes.shape[0]
    stack, logs = np.empty(depth, np.int64), np.empty(depth, np.float32)
    word = np.empty(longest_text(offsets, ends) + 2, np.uint8)
    word[0] = 60
    for d in range(ends.shape[0]):
        if _is_blank(data, offsets[d], ends[d]):
            continue
        for k in range(hidden.shape[0]):
            hidden[k] = np.float32(0)
        count = _add_text(data, offsets[d], ends[d], model, word, hidden)
        if count == 0:
            continue
        share = np.float32(1.0 / count)
        for k in range(hidden.shape[0]):
            hidden[k] *= share
        best, best_score = _best_label(hidden, model, stack, logs)
        label[d] = best
        if best >= 0:
            score[d] = np.exp(best_score)


def _read(file: BinaryIO, dtype: str, count: int) -> NDArray[Any]:
    kind = np.dtype(dtype)
    raw = file.read(kind.itemsize * count)
    if len(raw) < kind.itemsize * count:
        raise ValueError("the file ends early")
    return np.frombuffer(raw, kind)


def _quantizer(file: BinaryIO) -> tuple[list[int], NDArray[np.float32]]:
    """((dimensions, parts, dimensions of a part, of the last part), centroids)."""
    sizes = [int(size) for size in _read(file, "<i4", 4)]
    return sizes, _read(file, "<f4", sizes[0] * _CODES)


def _input_rows(file: BinaryIO) -> NDArray[np.float32]:
    """float32[F, D]: the rows of a quantised matrix, each part times its norm as the library multiplies it."""
    has_norms = bool(_read(file, "u1", 1)[0])
    n_rows, _ = (int(size) for size in _read(file, "<i8", 2))
    codes = _read(file, "u1", int(_read(file, "<i4", 1)[0]))
    (dimensions, parts, of_part, of_last), centroids = _quantizer(file)
    norms = np.ones(n_rows, np.float32)
    if has_norms:
        norm_codes = _read(file, "u1", n_rows)
        norms = _quantizer(file)[1][norm_codes]
    rows = np.empty((n_rows, dimensions), np.float32)
    codes = codes.reshape(n_rows, parts)
    for part in range(parts):
        size = of_last if part == parts - 1 else of_part
        first = part * _CODES * of_part
        table = centroids[first : first + _CODES * size].reshape(_CODES, size)
        rows[:, part * of_part : part * of_part + size] = norms[:, None] * table[codes[:, part]]
    return rows


def _tree(counts: list[int]) -> NDArray[np.int64]:
    """int64[2L − 1, 2]: children in the Huffman tree of labels with these counts, the most frequent first."""
    n = len(counts)
    weights = [*counts, *[_UNJOINED] * (n - 1)]
    tree = np.full((2 * n - 1, 2), -1, np.int64)
    leaf, node = n - 1, n
    for i in range(n, 2 * n - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                tree[i, side], leaf = leaf, leaf - 1
            else:
                tree[i, side], node = node, node + 1
        weights[i] = weights[tree[i, 0]] + weights[tree[i, 1]]
    return tree


def read_model(path: Path) -> SubwordModel | None:
    """The model at ``path``; None where it is of another kind, which the library must predict with.

    Raises:
        ValueError: the file is damaged.
    """
    with path.open("rb") as file:
        head = _read(file, "<i4", 16).tolist()  # magic, version, twelve options, and a double
        word_ngrams, loss, buckets, least, most = head[7], head[8], head[10], head[11], head[12]
        size, n_words, n_labels = (int(n) for n in _read(file, "<i4", 3))
        _, n_pruned = (int(n) for n in _read(file, "<i8", 2))
        if word_ngrams != 1 or loss != _HIERARCHICAL or most < 1 or buckets < 1 or n_pruned < 1 or n_labels < 2:
            return None
        rest = file.read()
    at = 0
    entries = []
    for _ in range(size):
        stop = rest.index(b"\0", at)
        if stop + 10 > len(rest):
            raise ValueError("the file ends early")
        count, kind = struct.unpack_from("<qb", rest, stop + 1)
        entries.append((rest[at:stop], count, kind))
        at = stop + 10
    pruned = np.frombuffer(rest, "<i4", 2 * n_pruned, at).reshape(-1, 2)
    body = io.BytesIO(rest[at + 8 * n_pruned :])
    if not _read(body, "u1", 1)[0]:
        return None
    rows = _input_rows(body)
    if _read(body, "u1", 1)[0]:
        return None
    shape = [int(n) for n in _read(body, "<i8", 2)]
    nodes = _read(body, "<f4", shape[0] * shape[1]).reshape(shape)
    if [kind for _, _, kind in entries] != [0] * n_words + [1] * n_labels or shape != [n_labels, rows.shape[1]]:
        return None
    counts = [count for _, count, _ in entries[n_words:]]
    # Compiled code trusts these numbers.
    lies_outside = pruned.min() < 0 or pruned[:, 0].max() >= buckets or n_words + pruned[:, 1].max() >= len(rows)
    if lies_outside or min(counts) < 0 or sum(counts) >= _UNJOINED:
        raise ValueError("an n-gram has no row, or a label no count")
    table = _table([entry for entry, _, _ in entries], n_words, len(rows))
    kept, rows_of = np.zeros(buckets // 64 + 1, np.uint64), np.zeros(buckets, np.int32)
    np.bitwise_or.at(kept, pruned[:, 0] >> 6, np.uint64(1) << (pruned[:, 0] & 63).astype(np.uint64))
    rows_of[pruned[:, 0]] = n_words + pruned[:, 1]
    names = [entry for entry, _, _ in entries[:n_words]]
    end = names.index(_END.tobytes()) if _END.tobytes() in names else -1
    labels = [entry.decode() for entry, _, _ in entries[n_words:]]
    options = np.array([least, most, buckets, n_words, end], np.int64)
    return SubwordModel(labels, ModelTables(options, table, kept, rows_of, rows, _tree(counts), nodes))


def _table(entries: list[bytes], n_words: int, label_row: int) -> NDArray[np.uint64]:
    slots = 1 << (2 * len(entries)).bit_length()
    table = np.zeros((slots, 2), np.uint64)
    for row, entry in enumerate(entries):
        h = int(word_hash(np.frombuffer(entry, np.uint8)))
        slot = (h ^ h >> 32) % slots
        while table[slot, 0]:
            slot = (slot + 1) % slots
        table[slot] = h, row if row < n_words else label_row
    return table.ravel()
