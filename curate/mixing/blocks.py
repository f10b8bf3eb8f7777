"""A text's token ids cut into paragraphs, without the text: what tokens say by themselves.

Legend: V ids of the vocabulary, T tokens of a text, B blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

WORD_SIGNS = ("Ġ", "▁", " ")
"""How vocabularies write the space before a word."""

MIN_LETTERS = 3


class Marks(NamedTuple):
    """What each token id says about the text: bool[V] each.

    Attributes:
        ends_line: the token holds a line break.
        begins_word: a space stands before its text.
        letters: its text, the space aside, is letters alone, three or more, or part of a word.
    """

    ends_line: NDArray[np.bool_]
    begins_word: NDArray[np.bool_]
    letters: NDArray[np.bool_]


def marks(names: Sequence[str], texts: Sequence[str]) -> Marks:
    """Marks of a vocabulary, from what its file calls each id and the text that the id alone decodes to."""
    begins = [name.startswith(WORD_SIGNS) for name in names]
    letters = [
        text.strip().isalpha() and (not begin or len(text.strip()) >= MIN_LETTERS)
        for text, begin in zip(texts, begins, strict=True)
    ]
    return Marks(np.array(["\n" in text for text in texts], np.bool_), np.array(begins, np.bool_), np.array(letters))


def block_bounds(ids: NDArray[Any], ends_line: NDArray[np.bool_], least: int, most: int) -> Int64s:
    """int64[B+1], 0 … T: where blocks of ``least`` to ``most`` tokens begin, and the end.

    A block ends with the first line that makes it ``least`` tokens long, empty lines behind it included, else after
    ``most`` tokens; a rest shorter than ``least`` joins the block before it where the two fit, else stands alone.
    """
    ends = ends_line[ids]
    ends[:-1] &= ~ends[1:]
    lines = np.flatnonzero(ends) + 1
    bounds, at = [0], 0
    while at < len(ids):
        found = int(np.searchsorted(lines, at + least))
        stop = int(lines[found]) if found < len(lines) else len(ids)
        at = min(stop, at + most, len(ids))
        bounds.append(at)
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < least and bounds[-1] - bounds[-3] <= most:
        del bounds[-2]
    return np.array(bounds, np.int64)
