"""Pieces of text (pretokens) whose token ids are remembered, so that an engine need encode each of them once.

A pretoken begins where every word pattern of :data:`curate.tokens.fast_bpe.PATTERNS` ends a word, whatever comes before or
after:

- at a blank after something that is not white space: no word has a blank but at its beginning;
- after an ASCII letter or digit at anything that is no letter, digit or mark: words that have one go on with those alone.

What a pattern finds from there on depends on what follows alone (it looks ahead, never back). What it finds before does
not depend on what follows, since only runs of white space look ahead, and no text before such a place ends in white
space. So the ids of a text are those of its pretokens, one after the other: words, for the most part, of which a text has
few that are new.

Legend: T texts; P pretokens; ``data`` is uint8; text i is ``data[starts[i]:stops[i]]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, kernel, maker
from curate.base.text import Bytes, Offsets, sample_texts, text_buffers

MAX_PIECES = 1 << 20
"""Pretokens remembered at most, which take about 40 bytes each; all are forgotten when there are nearly so many."""

MAX_BYTES = 48
"""Longer pretokens are not remembered: they seldom come again."""

ARENA_BYTES = 16 * MAX_PIECES
"""Text of all remembered pretokens, and ids of all of them, at most."""

_TAG = np.uint64(0xFFFFFFFFFF000000)
_FNV, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


@kernel
def _is_space(data: Bytes, at: int, start: int) -> bool:
    """Whether a character of white space (Unicode's ``White_Space``) ends with byte ``at``; control characters count."""
    last = data[at]
    if last < 0x80:
        return last <= 0x20
    if at - start >= 1 and data[at - 1] == 0xC2:
        return last == 0x85 or last == 0xA0
    if at - start < 2:
        return False
    first, second = data[at - 2], data[at - 1]
    if first == 0xE2:
        if second == 0x80:
            return last <= 0x8A or last == 0xA8 or last == 0xA9 or last == 0xAF
        return second == 0x81 and last == 0x9F
    return (first == 0xE1 and second == 0x9A and last == 0x80) or (first == 0xE3 and second == 0x80 and last == 0x80)


_OTHER, _WORD, _BLANK, _LINE_END, _MARK = range(5)
_KINDS = np.full(256, _OTHER, np.uint8)
for _byte in range(0x21, 0x7F):
    _KINDS[_byte] = _WORD if chr(_byte).isalnum() else _MARK
_KINDS[[0x20, 0x09]], _KINDS[[0x0A, 0x0D]] = _BLANK, _LINE_END

_GOES_ON, _BEGINS, _ASK = range(3)
_BETWEEN = np.full(25, _GOES_ON, np.uint8)
"""Whether a pretoken begins between two bytes, by ``5 * kind + kind``."""
_BETWEEN[[5 * _WORD + kind for kind in (_BLANK, _LINE_END, _MARK)]] = _BEGINS
_BETWEEN[5 * _MARK + _BLANK] = _BEGINS
_BETWEEN[[5 * _WORD + _OTHER, 5 * _OTHER + _BLANK]] = _ASK


@inner
def _begins(data: Bytes, at: int, start: int, stop: int) -> bool:
    """Whether a pretoken of ``data[start:stop]`` begins at byte ``at``, where the kinds of two bytes do not tell."""
    if data[at] < 0x80:
        return not _is_space(data, at - 1, start)
    # Dashes, quotes, dots, daggers: U+2010 to U+2027.
    return at + 2 < stop and data[at] == 0xE2 and data[at + 1] == 0x80 and 0x90 <= data[at + 2] <= 0xA7


@inner
def _pretoken(data: Bytes, at: int, start: int, stop: int) -> tuple[int, np.uint64]:
    """(end, FNV-1a hash) of the pretoken that begins at byte ``at`` of the text ``data[start:stop]``."""
    kind = _KINDS[data[at]]
    value = (_FNV ^ np.uint64(data[at])) * _PRIME
    at += 1
    while at < stop:
        next_kind = _KINDS[data[at]]
        between = _BETWEEN[5 * kind + next_kind]
        if between != _GOES_ON and (between == _BEGINS or _begins(data, at, start, stop)):
            break
        value = (value ^ np.uint64(data[at])) * _PRIME
        kind = next_kind
        at += 1
    return at, value


class Texts(NamedTuple):
    """The text of the pretokens that are remembered, by number."""

    slots: NDArray[np.uint64]
    """Open addressing: a tag of the hash, and the number + 1 of a pretoken (0 where empty)."""
    begins: NDArray[np.int32]
    """Where each begins in the arena; behind the last one, where that ends."""
    arena: Bytes


class Encoded(NamedTuple):
    """Ids of pieces of text: those of piece i are ``ids[begins[i]:begins[i + 1]]``."""

    ids: NDArray[Any]
    begins: NDArray[Any]


@maker
def _number(data: Bytes, begin: int, end: int, value: np.uint64, texts: Texts, known: int) -> int:
    """The number of the pretoken ``data[begin:end]``, whose bytes hash to ``value``; ``known`` if it is new, -1 if there is no room."""
    slots, begins, arena = texts
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(32)
    mask = np.uint64(slots.shape[0] - 1)
    slot = value & mask
    size = end - begin
    while slots[slot] != 0:
        entry = slots[slot]
        if entry & _TAG == value & _TAG:
            number = np.int64(entry & ~_TAG) - 1
            first = begins[number]
            at = 0
            if begins[number + 1] - first == size:
                while at < size and arena[first + at] == data[begin + at]:
                    at += 1
            if at == size:
                return number  # type: ignore[return-value]
        slot = (slot + np.uint64(1)) & mask
    if known == begins.shape[0] - 1 or begins[known] + size > arena.shape[0]:
        return -1
    slots[slot] = (value & _TAG) | np.uint64(known + 1)
    arena[begins[known] : begins[known] + size] = data[begin:end]
    begins[known + 1] = begins[known] + size
    return known


@kernel
def _scan(
    data: Bytes, starts: Offsets, stops: Offsets, texts: Texts, known: int
) -> tuple[int, NDArray[np.int32], Offsets, Offsets]:
    """Find the pretokens of T texts; (pretokens known now, refs, bounds, loose stretches).

    ``refs[bounds[i]:bounds[i + 1]]`` are those of text i: the number of a pretoken, or ``-1 - j`` for the stretch
    ``data[loose[2 * j] : loose[2 * j + 1]]`` of pretokens that are not remembered. Numbers from the previous ``known`` on are
    new: their text is in the arena, their ids are not known yet.
    """
    size = (stops - starts).sum()
    refs, loose = np.empty(size, np.int32), np.empty(2 * size, np.int64)
    bounds = np.empty(starts.shape[0] + 1, np.int64)
    n_refs, n_loose = 0, 0
    for i in range(starts.shape[0]):
        bounds[i] = n_refs
        start, stop = starts[i], stops[i]
        at = start
        open_loose = False
        while at < stop:
            begin = at
            at, value = _pretoken(data, at, start, stop)
            number = -1
            if at - begin <= MAX_BYTES:
                number = _number(data, begin, at, value, texts, known)
                known = max(known, number + 1)
            if number >= 0:
                refs[n_refs] = number
                n_refs += 1
                open_loose = False
            elif open_loose:
                loose[2 * n_loose - 1] = at
            else:
                loose[2 * n_loose], loose[2 * n_loose + 1] = begin, at
                n_loose += 1
                refs[n_refs] = -n_loose
                n_refs += 1
                open_loose = True
    bounds[starts.shape[0]] = n_refs
    return known, refs[:n_refs], bounds, loose[: 2 * n_loose]


@kernel
def _joined(texts: Texts, first: int, last: int) -> tuple[Bytes, Offsets, NDArray[np.bool_]]:
    """(text, int64[2n], bool[n]): the pretokens ``first`` to ``last`` in one text, where each is in it, and whether it is.

    Each comes where a pretoken begins: after another one if it begins with a blank, else after a letter. One that could not
    begin there, or that ends in white space, is left out.
    """
    _, begins, arena = texts
    n = last - first
    text = np.empty(begins[last] - begins[first] + 2 * n, np.uint8)
    places = np.zeros(2 * n, np.int64)
    inside = np.zeros(n, np.bool_)
    filled = 0
    for i in range(n):
        begin, end = begins[first + i], begins[first + i + 1]
        kind = _KINDS[arena[begin]]
        between = _BETWEEN[5 * _WORD + kind]
        if between == _GOES_ON or (between == _ASK and not _begins(arena, begin, begin, end)):
            continue
        if _is_space(arena, end - 1, begin):
            continue
        inside[i] = True
        if kind != _BLANK:
            text[filled], text[filled + 1] = 0x20, 0x61
            filled += 2
        places[2 * i] = filled
        text[filled : filled + end - begin] = arena[begin:end]
        filled += end - begin
        places[2 * i + 1] = filled
    return text[:filled], places, inside


@kernel
def _take(
    ids: NDArray[Any],
    lengths: NDArray[np.int64],
    places: Offsets,
    inside: NDArray[np.bool_],
    alone: Encoded,
    first: int,
    known: Encoded,
) -> bool:
    """Store the ids of pretokens from number ``first`` on in ``known``; False if a token goes over the ends of one."""
    alone_ids, alone_begins = alone
    known_ids, known_begins = known
    at, t, a = 0, 0, 0
    filled = known_begins[first]
    for i in range(inside.shape[0]):
        if inside[i]:
            while t < ids.shape[0] and at < places[2 * i]:
                at += lengths[ids[t]]
                t += 1
            if at != places[2 * i]:
                return False
            while t < ids.shape[0] and at < places[2 * i + 1]:
                at += lengths[ids[t]]
                known_ids[filled] = ids[t]
                filled += 1
                t += 1
            if at != places[2 * i + 1]:
                return False
        else:
            for k in range(alone_begins[a], alone_begins[a + 1]):
                known_ids[filled] = alone_ids[k]
                filled += 1
            a += 1
        known_begins[first + i + 1] = filled
    return True


@kernel
def _emit(
    refs: NDArray[np.int32], bounds: Offsets, known: Encoded, loose: Encoded, out: NDArray[Any], counts: Offsets
) -> int:
    """Number of ids of all texts, which are written to ``out`` after each other; ``counts`` gets those of each text."""
    known_ids, known_begins = known
    loose_ids, loose_begins = loose
    n = 0
    for i in range(counts.shape[0]):
        first = n
        for r in range(bounds[i], bounds[i + 1]):
            ref = refs[r]
            if ref >= 0:
                for k in range(known_begins[ref], known_begins[ref + 1]):
                    out[n] = known_ids[k]
                    n += 1
            else:
                for k in range(loose_begins[-ref - 1], loose_begins[-ref]):
                    out[n] = loose_ids[k]
                    n += 1
        counts[i] = n - first
    return n


class Pretokens:
    """The ids that an engine gives for texts; the engine is asked for new pretokens alone.

    Args:
        encode: the engine: (text) → ids[n]. Its word pattern is one of :data:`curate.tokens.fast_bpe.PATTERNS`.
        lengths: int64[V]: bytes of each token.
        dtype: of the ids.
    """

    def __init__(
        self, encode: Callable[[str], NDArray[Any]], lengths: Offsets, dtype: type[np.uint16] | type[np.uint32]
    ) -> None:
        self._encode, self._lengths, self._dtype = encode, lengths, dtype
        self.forget()

    def forget(self) -> None:
        # Pages that are not written to take no memory.
        self._known = 0
        slots = np.zeros(1 << (2 * MAX_PIECES - 1).bit_length(), np.uint64)
        self._texts = Texts(slots, np.zeros(MAX_PIECES + 1, np.int32), np.empty(ARENA_BYTES, np.uint8))
        self._ids = Encoded(np.empty(ARENA_BYTES, self._dtype), np.zeros(MAX_PIECES + 1, np.int32))

    def encode(self, data: Bytes, starts: Offsets, stops: Offsets) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(ids[n], int64[T]): the ids of T texts one after the other, and how many each has.

        Raises:
            ValueError: the engine's words go over the ends of pretokens.
        """
        known, refs, bounds, spans = _scan(data, starts, stops, self._texts, self._known)
        try:
            self._learn(known)
        except BaseException:
            self.forget()
            raise
        loose = self._each(data[a:b] for a, b in spans.reshape(-1, 2).tolist())
        # A token holds at least one byte.
        counts, ids = np.empty(len(starts), np.int64), np.empty(int((stops - starts).sum()), self._dtype)
        n = _emit(refs, bounds, self._ids, loose, ids, counts)
        if known > 0.9 * MAX_PIECES or self._texts.begins[known] > 0.9 * ARENA_BYTES:
            self.forget()
        return ids[:n].copy(), counts

    def _learn(self, known: int) -> None:
        """Ask for the ids of the pretokens from the first unknown one to ``known``, of nearly all of them in one text."""
        first, (_, begins, arena) = self._known, self._texts
        text, places, inside = _joined(self._texts, first, known)
        ids = self._each([text]).ids
        numbers = first + np.flatnonzero(~inside)
        alone = self._each(arena[begins[i] : begins[i + 1]] for i in numbers.tolist())
        if not _take(ids, self._lengths, places, inside, alone, first, self._ids):
            raise ValueError("the engine's words go over the ends of pretokens")
        self._known = known

    def _each(self, texts: Iterable[Bytes]) -> Encoded:
        """The ids of each text, encoded alone; ``begins`` int64[n + 1]."""
        ids = [self._encode(str(text.data, "utf-8")) for text in texts]
        begins = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        return Encoded(np.concatenate([np.empty(0, self._dtype), *ids], dtype=self._dtype, casting="same_kind"), begins)


def compile_kernels() -> None:
    """Compile the kernels, for vocabularies of both sizes."""
    data, offsets = text_buffers(sample_texts())
    for dtype in (np.uint16, np.uint32):
        bytewise = Pretokens(lambda text: np.array(list(text.encode()), np.uint32), np.ones(256, np.int64), dtype)
        bytewise.encode(data, offsets[:-1].copy(), offsets[1:].copy())
