"""Stop words: Gopher's list of English ones, and lists by language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.quality.words import word_hash

STOP_WORD_LIST = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher, table A1 and section A.1.1 (arXiv:2112.11446): matched as they are, in small letters."""


class StopLists(NamedTuple):
    """The lists of stop words of N documents.

    Legend: L lists, of which the first is empty: its documents have Gopher's.
    """

    words: NDArray[np.uint64]
    """uint64[W, 3]: hashes of all words, one list after the other, each as written, capitalised and in capitals."""
    first: NDArray[np.int64]
    """int64[L + 1]: list l has ``words[first[l]:first[l + 1]]``."""
    of: NDArray[np.int64]
    """int64[N]: the list of each document."""


def _hash(word: str) -> np.uint64:
    return word_hash(np.frombuffer(word.encode(), np.uint8))


@lru_cache(maxsize=1)
def gopher_stop_words() -> NDArray[np.uint64]:
    """uint64[8]: hashes of Gopher's list."""
    return np.array([_hash(word) for word in STOP_WORD_LIST], np.uint64)


@lru_cache(maxsize=4096)
def _forms(words: tuple[str, ...]) -> NDArray[np.uint64]:
    forms = [(word, word.capitalize(), word.upper()) for word in words if word]
    return np.array([[_hash(form) for form in three] for three in forms], np.uint64).reshape(-1, 3)


def stop_lists(words_of: Callable[[str], tuple[str, ...]], keys: Sequence[str]) -> StopLists:
    """The lists of N documents by the keys of their languages; a key whose list is empty has Gopher's."""
    of: dict[str, int] = {}
    hashes = [np.empty((0, 3), np.uint64)]
    for key in dict.fromkeys(keys):
        if words := words_of(key):
            of[key] = len(hashes)
            hashes.append(_forms(words))
    first = np.concatenate([[0], np.cumsum([len(one) for one in hashes])]).astype(np.int64)
    return StopLists(np.concatenate(hashes), first, np.array([of.get(key, 0) for key in keys], np.int64))


def gopher_lists(n: int) -> StopLists:
    """Gopher's list for each of n documents."""
    return stop_lists(lambda key: (), [""] * n)
