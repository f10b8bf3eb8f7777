"""Words of scripts that put no spaces between them, by ICU's word break iterator and its dictionaries.

ICU decides inside a *chunk* (a run without white space) that holds a letter of such a script, and of nothing else: all other
chunks are split as ever (:mod:`curate.quality.words`). So the words of a chunk depend on the chunk alone, and text in
Latin script costs what it did. A sign is a word of its own, as the tokenizers have it that FineWeb-2's limits belong to.

ICU counts in UTF-16 units; its bounds are brought back to bytes here.

Legend: a chunk is ``data[start:end]``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel
from curate.base.errors import RequestError
from curate.base.text import Bytes, Offsets, text_buffers
from curate.quality.by_language import PLAIN
from curate.quality.codes import WITHOUT_SPACES
from curate.quality.lines import decode, next_chunk
from curate.quality.octets import LIMIT, with_room
from curate.quality.scripts import NAMES, Table, script_table

_FIRST_LEAD = 0xE0
"""Scripts without spaces begin at U+0E01, so their characters have three bytes or more."""

_ICU_BYTES = 1 << 20
"""Chunks are handed to ICU together, as many as fit; one that is longer is handed over alone."""

_NEWLINE = 10


class Breaks(NamedTuple):
    """What ICU says of the C chunks it was asked about, in the order of the text."""

    starts: Offsets
    """int64[C]: where each chunk begins."""
    first: Offsets
    """int64[C + 1]: its words are ``ends[first[c]:first[c + 1]]``."""
    ends: Offsets
    """int64: where each word ends; the next begins there."""
    at: Offsets
    """int64[2]: the chunk that comes next as the text is read, and where it begins, −1 behind the last."""


def no_breaks() -> Breaks:
    """ICU was asked about nothing."""
    nothing = np.zeros(0, np.int64)
    return Breaks(nothing, np.zeros(1, np.int64), nothing, np.array([0, -1], np.int64))


def icu_version() -> str:
    """``icu <version>`` of the installed ICU.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import icu
    except ImportError:
        raise RequestError(
            "quality.words is icu, but PyICU is not installed: run `pip install pyicu-wheels` (the extra `icu`), "
            "or set quality.words to plain"
        ) from None
    return f"icu {icu.ICU_VERSION}"


def check_words(words: str) -> None:
    """Nothing, when this process splits words as ``words`` says: ``plain``, or ``icu <version>``.

    Raises:
        RequestError: it has another ICU, or none.
    """
    if words != PLAIN and icu_version() != words:
        raise RequestError(
            f"this machine has {icu_version()}, but the run was planned with {words}: words would differ; install the same "
            "version of pyicu-wheels on every machine"
        )


@lru_cache(maxsize=1)
def _unspaced_letters() -> Table:
    """bool[LIMIT]: letters of scripts without spaces."""
    numbers = [NAMES.index(name) for name in WITHOUT_SPACES]
    return np.isin(script_table(), numbers).astype(np.uint8)


@inner
def _is_unspaced(data: Bytes, start: int, end: int, letters: Table) -> bool:
    for at in range(start, end):
        if data[at] >= _FIRST_LEAD:
            code = decode(data, at)[0]
            if code < LIMIT and letters[code]:
                return True
    return False


@kernel
def _unspaced_chunks(data: Bytes, offsets: Offsets, letters: Table) -> NDArray[np.int64]:
    """int64[C, 2]: (start, end) of the chunks that ICU is asked about."""
    out = np.empty((256, 2), np.int64)
    n = 0
    for d in range(offsets.shape[0] - 1):
        at, end = offsets[d], offsets[d + 1]
        while True:
            left, plain, at = next_chunk(data, at, end)
            if left == at:
                break
            if plain < at and _is_unspaced(data, plain, at, letters):
                out = with_room(out, n, n + 1)
                out[n, 0], out[n, 1] = left, at
                n += 1
    return out[:n]


@kernel
def _joined(data: Bytes, chunks: NDArray[np.int64], out: Bytes) -> None:
    """Fill ``out`` with the chunks, a newline behind each."""
    n = 0
    for c in range(chunks.shape[0]):
        for i in range(chunks[c, 0], chunks[c, 1]):
            out[n] = data[i]
            n += 1
        out[n] = _NEWLINE
        n += 1


@kernel
def _word_ends(
    data: Bytes, chunks: NDArray[np.int64], bounds: NDArray[np.int32], ends: Offsets, counts: Offsets
) -> int:
    """How many words the chunks have; fills ``ends`` with their ends in ``data`` and ``counts`` with the words of each chunk.

    ``bounds`` are in UTF-16 units of the joined chunks, ascending.
    """
    n, unit, bound = 0, 0, 0
    for c in range(chunks.shape[0]):
        before = n
        at = chunks[c, 0]
        while at < chunks[c, 1]:
            b = data[at]
            size = 1 if b < 0x80 else 2 if b < 0xE0 else 3 if b < 0xF0 else 4
            at += size
            unit += 2 if size == 4 else 1
            while bound < bounds.shape[0] and bounds[bound] < unit:
                bound += 1
            if at == chunks[c, 1] or (bound < bounds.shape[0] and bounds[bound] == unit):
                ends[n] = at
                n += 1
        unit += 1
        counts[c] = n - before
    return n


def _bounds(text: Bytes, iterator: Any) -> NDArray[np.int32]:
    """int32: where ICU ends words and signs, in UTF-16 units."""
    import icu

    iterator.setText(icu.UnicodeString(text.tobytes().decode("utf-8")))
    return np.fromiter(iterator, np.int32)


def breaks_of(texts: pa.Array | pa.ChunkedArray) -> Breaks:
    """The words of every chunk of some texts that holds a letter of a script without spaces; positions in their data.

    ICU must be installed (:func:`check_words`).
    """
    import icu

    data, offsets = text_buffers(texts)
    chunks = _unspaced_chunks(data, offsets, _unspaced_letters())
    # Root rules: the few languages that differ have spaces.
    iterator = icu.BreakIterator.createWordInstance(icu.Locale.getRoot())
    sizes = np.cumsum(chunks[:, 1] - chunks[:, 0] + 1)
    ends, counts = [], []
    first = 0
    while first < len(chunks):
        done = sizes[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(sizes, done + _ICU_BYTES, "right")))
        some = chunks[first:last]
        joined = np.empty(int(sizes[last - 1] - done), np.uint8)
        _joined(data, some, joined)
        found, per_chunk = np.empty(len(joined), np.int64), np.empty(len(some), np.int64)
        n = _word_ends(data, some, _bounds(joined, iterator), found, per_chunk)
        ends.append(found[:n].copy())
        counts.append(per_chunk)
        first = last
    nothing = [np.zeros(0, np.int64)]
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts or nothing))]).astype(np.int64)
    starts = chunks[:, 0].copy()
    at = np.array([0, starts[0] if len(starts) else -1], np.int64)
    return Breaks(starts, bounds, np.concatenate(ends or nothing), at)
