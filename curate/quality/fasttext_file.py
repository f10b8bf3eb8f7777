"""Reading fastText's model files (``.bin``, ``.ftz``), versions 11 and 12 (``src/fasttext.cc``, ``FastText::loadModel``).

Nothing in a file is believed: compiled code goes by these numbers, and the library ends its process on some of them. A
large file is mapped, not read: processes share its pages, and only rows that texts need are fetched.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.columns import read_only
from curate.base.compiled import inner, kernel
from curate.base.errors import RequestError
from curate.base.text import Bytes
from curate.quality.fasttext_kernel import HIERARCHICAL, ONE_VS_ALL, SIGMOID_CELLS, SIGMOID_END, FastTextModel
from curate.quality.fasttext_rows import CODES, ModelTables, Rows
from curate.quality.octets import find_byte, hash_bytes

LABEL_PREFIX = "__label__"

_MAGIC = 793712314
"""FASTTEXT_FILEFORMAT_MAGIC_INT32, then the version."""
_VERSIONS = (11, 12)
_SUPERVISED = 3
_HEAD = struct.Struct("<14id3i2q")
"""Magic, version, twelve options, sampling threshold; entries, words, labels; tokens, pruned n-grams."""
_ENTRY_BYTES = 10
"""Of an entry of the dictionary at least: the zero behind its text, its count, its kind."""

_MOST_CHARACTERS, _MOST_WORDS, _MOST_DIMENSIONS, _MOST_BUCKETS = 255, 255, 65_536, 1 << 30
"""A model with more is taken for damaged; predicting would take longer than in proportion to the text."""
SMALL_BYTES = 64 << 20
"""A quantised matrix is multiplied out once where it is at most this large, as a row is then added much faster; a file is
read where it is at most this large, else mapped."""
_UNJOINED = 10**15
"""Weight of a node of the tree that has no children yet: more than all labels together."""


class _File:
    """A file, read from the beginning on."""

    def __init__(self, path: Path) -> None:
        is_small = path.stat().st_size <= SMALL_BYTES
        self.data: Bytes = read_only(np.fromfile(path, np.uint8) if is_small else np.memmap(path, np.uint8, "r"))
        self.at = 0

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        """The next ``count`` numbers: a view of the file, aligned or not."""
        size = np.dtype(dtype).itemsize * count
        if count < 0 or size > len(self.data) - self.at:
            raise ValueError("the file ends early")
        self.at += size
        return self.data[self.at - size : self.at].view(dtype)

    def number(self, dtype: str) -> int:
        """The next number."""
        return int(self.take(dtype, 1)[0])


class _Head(NamedTuple):
    """What the beginning of a file says."""

    version: int
    dimensions: int
    word_ngrams: int
    loss: int
    model: int
    buckets: int
    least: int
    most: int
    entries: int
    words: int
    labels: int
    pruned: int

    @staticmethod
    def of(raw: bytes) -> _Head:
        """The head of a file with these first bytes."""
        fields = _HEAD.unpack(raw)
        version, dimensions, word_ngrams, loss, model = fields[1], fields[2], fields[7], fields[8], fields[9]
        buckets, least, most = fields[10:13]
        entries, words, labels, _, pruned = fields[15:20]
        if version == 11:
            most = 0  # old supervised models have no n-grams of characters
        return _Head(
            version, dimensions, word_ngrams, loss, model, buckets, least, most, entries, words, labels, pruned
        )

    def check(self) -> None:
        """Raise ValueError for numbers that no model has."""
        for name, value, least, most in (
            ("dimensions", self.dimensions, 1, _MOST_DIMENSIONS),
            ("words of an n-gram", self.word_ngrams, 0, _MOST_WORDS),
            ("number of its loss", self.loss, HIERARCHICAL, ONE_VS_ALL),
            ("characters of an n-gram", self.most, 0, _MOST_CHARACTERS),
            ("buckets", self.buckets, 1 if self.has_ngrams else 0, _MOST_BUCKETS),
            ("labels", self.labels, 1, 1 << 30),
            ("words", self.words, 0, self.entries),
            ("entries of the dictionary", self.entries, self.words + self.labels, self.words + self.labels),
            ("pruned n-grams", self.pruned, -1, self.buckets),
        ):
            if not least <= value <= most:
                raise ValueError(f"the {name} cannot be {value}")

    @property
    def has_ngrams(self) -> bool:
        """Whether texts have n-grams of characters or of words."""
        return self.most > 0 or self.word_ngrams > 1


def check_model(path: Path) -> None:
    """Nothing, when ``path`` is a supervised fastText model.

    Raises:
        RequestError: it is missing, not a fastText model, or one without labels.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_HEAD.size)
    except OSError as error:
        raise RequestError(f"cannot read the fastText model {path}: {error.strerror or error}") from error
    if len(raw) < _HEAD.size or struct.unpack_from("<i", raw)[0] != _MAGIC:
        raise RequestError(
            f"{path} is not a fastText model (its first bytes are not fastText's); give a .bin or .ftz file"
        )
    head = _Head.of(raw)
    if head.version not in _VERSIONS:
        raise RequestError(f"{path} is a fastText model of file version {head.version}; this code reads {_VERSIONS}")
    if head.model != _SUPERVISED:
        raise RequestError(f"{path} is a fastText model of word vectors; a supervised one, with labels, is needed")


def read_model(path: Path) -> FastTextModel:
    """The model at ``path``: any loss, full precision or quantised, pruned or not; read once a process while the file stays.

    Raises:
        RequestError: it is missing, no supervised fastText model, or damaged.
    """
    check_model(path)
    status = path.stat()
    return _opened(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _opened(path: Path, changed: int, size: int) -> FastTextModel:
    try:
        return _read(_File(path))
    except (ValueError, OSError, MemoryError) as error:
        raise RequestError(f"cannot read the fastText model {path}: {error}; the file may be cut short") from error


def _read(file: _File) -> FastTextModel:
    head = _Head.of(file.take("u1", _HEAD.size).tobytes())
    head.check()
    labels, counts, words, end = _dictionary(file, head)
    pruned = np.array(file.take("<i4", 2 * max(head.pruned, 0))).reshape(-1, 2)
    is_quantised = bool(file.number("u1"))
    if head.pruned >= 0 and not is_quantised:
        raise ValueError("it is pruned but not quantised; fastText wrote such files by mistake (its issue 332)")
    n_rows, rows, coded = _quantised(file, head) if is_quantised else (*_plain(file, head), _NOT_CODED)
    kept, rows_of = _rows_of_buckets(pruned, head, n_rows)
    outputs = _outputs(file, head, is_quantised)
    tree = _tree(counts) if head.loss == HIERARCHICAL else np.zeros((0, 2), np.int64)
    found = min(head.pruned, 1)
    options = [head.least, head.most, head.buckets, head.word_ngrams, head.words, end, head.loss, found]
    tables = ModelTables(
        np.array([*options, head.dimensions], np.int64), words, kept, rows_of, rows, *coded, outputs, tree, _sigmoids()
    )
    return FastTextModel(labels, tables)


@kernel
def _parse(data: Bytes, at: int, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """Where the dictionary ends that begins at ``at``; −1 where the file ends before. Texts are ``data[starts:ends]``."""
    for i in range(starts.shape[0]):
        end = find_byte(data, at, data.shape[0], np.uint64(0))
        if end + _ENTRY_BYTES > data.shape[0]:
            return -1
        starts[i], ends[i] = at, end
        at = end + _ENTRY_BYTES
    return at


@inner
def _put(table: NDArray[np.uint64], h: np.uint64, place: int) -> None:
    mask = np.uint64((table.shape[0] >> 1) - 1)
    one = np.uint64(1)
    slot = (h ^ (h >> np.uint64(32))) & mask
    while table[slot << one] != 0:
        slot = (slot + one) & mask
    table[slot << one] = h
    table[(slot << one) + one] = np.uint64(place)


@kernel
def _fill(data: Bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], table: NDArray[np.uint64]) -> None:
    for i in range(starts.shape[0]):
        _put(table, hash_bytes(data, starts[i], ends[i]), i)


def _dictionary(file: _File, head: _Head) -> tuple[list[str], list[int], NDArray[np.uint64], int]:
    """(labels, their counts, the table of words, the place of the end of a text or −1)."""
    if head.entries * _ENTRY_BYTES > len(file.data) - file.at:
        raise ValueError("the file ends early")
    starts, ends = np.empty(head.entries, np.int64), np.empty(head.entries, np.int64)
    stop = int(_parse(file.data, file.at, starts, ends))
    if stop < 0:
        raise ValueError("the file ends early")
    file.at = stop
    kinds = file.data[ends + _ENTRY_BYTES - 1]
    if kinds[: head.words].any() or (kinds[head.words :] != 1).any():
        raise ValueError("its words and labels are not in order")
    table = np.zeros(2 << (2 * head.entries).bit_length(), np.uint64)
    _fill(file.data, starts, ends, table)
    spans = list(zip(starts[head.words :].tolist(), ends[head.words :].tolist(), strict=True))
    labels = [file.data[start:end].tobytes().decode() for start, end in spans]
    counts = [struct.unpack("<q", file.data[end + 1 : end + 9].tobytes())[0] for _, end in spans]
    if min(counts) < 0 or sum(counts) >= _UNJOINED:
        raise ValueError("a label has no count")
    mark = b"</s>"
    found = np.flatnonzero(ends[: head.words] - starts[: head.words] == len(mark)).tolist()
    end = next((i for i in found if file.data[starts[i] : ends[i]].tobytes() == mark), -1)
    return labels, counts, table, end


_Coded = tuple[Bytes, Rows, Rows, NDArray[np.int64]]
"""codes, norms, centroids, parts of :class:`ModelTables`."""
_NOT_CODED: _Coded = (
    read_only(np.zeros(0, np.uint8)),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(3, np.int64),
)


def _check_shape(shape: tuple[int, int], head: _Head) -> None:
    """Raise ValueError where a matrix cannot be the input of the model."""
    needed = head.words + (head.buckets if head.pruned < 0 and head.has_ngrams else 0)
    if shape[1] != head.dimensions or shape[0] < needed:
        raise ValueError(
            f"its input matrix is {shape[0]} × {shape[1]}, and it has {needed} × {head.dimensions} weights"
        )


def _plain(file: _File, head: _Head) -> tuple[int, Bytes]:
    """(F, the input matrix as it is in the file)."""
    n_rows, width = file.number("<i8"), file.number("<i8")
    _check_shape((n_rows, width), head)
    return n_rows, file.take("u1", 4 * n_rows * width)


class _Quantised(NamedTuple):
    """A quantised matrix."""

    shape: tuple[int, int]
    coded: _Coded

    def expanded(self) -> Rows:
        """float32[rows, dimensions]: each part times its norm, as the library multiplies it."""
        codes, norms, centroids, parts = self.coded
        n_parts, of_part, of_last = parts.tolist()
        rows = np.empty(self.shape, np.float32)
        for part in range(n_parts):
            size = of_last if part == n_parts - 1 else of_part
            first = part * CODES * of_part
            table = centroids[first : first + CODES * size].reshape(CODES, size)
            of_rows = table[codes.reshape(-1, n_parts)[:, part]]
            with np.errstate(all="ignore"):  # weights that are no numbers are found by what they predict
                rows[:, part * of_part : part * of_part + size] = norms[:, None] * of_rows
        return rows


def _centroids(file: _File, dimensions: int) -> tuple[NDArray[np.int64], Rows]:
    """(parts, dimensions of a part, of the last part; centroids) of a product quantiser of so many dimensions."""
    sizes = file.take("<i4", 4).astype(np.int64)
    width, n_parts, of_part, of_last = sizes.tolist()
    if width != dimensions or min(n_parts, of_part, of_last) < 1 or (n_parts - 1) * of_part + of_last != width:
        raise ValueError("its quantised rows have impossible parts")
    return sizes[1:], np.array(file.take("<f4", width * CODES))


def _quantised_matrix(file: _File, dimensions: int) -> _Quantised:
    has_norms = bool(file.number("u1"))
    n_rows, width, n_codes = file.number("<i8"), file.number("<i8"), file.number("<i4")
    if width != dimensions or n_rows < 0:
        raise ValueError(f"a matrix of it is {n_rows} × {width}, and it has {dimensions} dimensions")
    codes = file.take("u1", n_codes)
    parts, centroids = _centroids(file, dimensions)
    if n_rows * int(parts[0]) != n_codes:
        raise ValueError("its quantised rows have impossible parts")
    norms = np.ones(n_rows, np.float32)
    if has_norms:
        norm_codes = file.take("u1", n_rows)
        norms = _centroids(file, 1)[1][norm_codes]
    return _Quantised((n_rows, width), (codes, norms, centroids, parts))


def _quantised(file: _File, head: _Head) -> tuple[int, Bytes, _Coded]:
    """(F, the input matrix multiplied out where it is small, else nothing; its codes where it is large)."""
    matrix = _quantised_matrix(file, head.dimensions)
    _check_shape(matrix.shape, head)
    if 4 * matrix.shape[0] * matrix.shape[1] > SMALL_BYTES:
        return matrix.shape[0], _NOT_CODED[0], matrix.coded
    return matrix.shape[0], read_only(matrix.expanded().view(np.uint8).ravel()), _NOT_CODED


def _rows_of_buckets(
    pruned: NDArray[np.int32], head: _Head, n_rows: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """(bitmap of the buckets that have a row, their rows) where n-grams were pruned; empty where not."""
    if head.pruned <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int32)
    outside = pruned.min() < 0 or pruned[:, 0].max() >= head.buckets or head.words + int(pruned[:, 1].max()) >= n_rows
    if outside:
        raise ValueError("an n-gram has no row")
    kept, rows_of = np.zeros(head.buckets // 64 + 1, np.uint64), np.zeros(head.buckets, np.int32)
    np.bitwise_or.at(kept, pruned[:, 0] >> 6, np.uint64(1) << (pruned[:, 0] & 63).astype(np.uint64))
    rows_of[pruned[:, 0]] = head.words + pruned[:, 1]
    return kept, rows_of


def _outputs(file: _File, head: _Head, is_quantised: bool) -> Rows:
    """The output matrix: float32[D, L], or float32[L, D] of the nodes of a tree."""
    if file.number("u1") and is_quantised:
        matrix = _quantised_matrix(file, head.dimensions)
        shape, take = matrix.shape, matrix.expanded
    else:
        n_rows, width = file.number("<i8"), file.number("<i8")
        shape = (n_rows, width)

        def take() -> Rows:
            return np.array(file.take("<f4", n_rows * width)).reshape(shape)

    if shape != (head.labels, head.dimensions):
        raise ValueError(f"its output matrix is {shape[0]} × {shape[1]}, not {head.labels} × {head.dimensions}")
    outputs = take()
    if not np.isfinite(outputs).all():
        raise ValueError("its weights are no numbers")
    return outputs if head.loss == HIERARCHICAL else np.ascontiguousarray(outputs.T)


def _sigmoids() -> Rows:
    """float32[SIGMOID_CELLS + 1]: the table of ``Loss::Loss``."""
    cells = np.arange(SIGMOID_CELLS + 1, dtype=np.float32) * np.float32(2 * SIGMOID_END)
    x = cells / np.float32(SIGMOID_CELLS) - np.float32(SIGMOID_END)
    return (1.0 / (1.0 + np.exp(-x).astype(np.float64))).astype(np.float32)


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
