"""Whether the terms of a long text come back from afar.

Most words are no sign of it: what is common in a language comes back in any text, and so in one of unrelated parts. A
*term* is therefore a word that a block of the text is about, as far as counting can tell: at least TERM_WORDS times in the
block, and in at most half of the blocks. The signal is how often a term of a block is met again NEAR_BLOCKS to
2 · NEAR_BLOCKS − 1 blocks before it, or as far behind it. In a text whose parts belong together (a story, a manual) names
and topics come back; of shorter texts joined to one they stay in their part. The distance looked at is the same in every
text, so that the signal does not grow with the length. ("Empirical estimates of adaptation", Church, COLING 2000, found
that a word met twice is likely to be met again, and that this depends on what the text is about, little on how common it is.)

What a text copies from itself does not come back: a term is looked for, but not met, where all its words in the block are
of runs of ten words that were there before, and nothing is met there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.compiled import inner, maker
from curate.quality.naming import Names

BLOCK_BYTES = 4_096
"""Blocks have as many words each, and as many bytes on average."""

NEAR_BLOCKS = 4
"""Fewer blocks away is near: 16 KiB, some 4,000 tokens."""

TERM_WORDS = 3

COPIED_WORDS = 10
"""The longest n-gram that is looked at anyhow (:mod:`curate.quality.grams`)."""

LONG_BYTES = 2 * NEAR_BLOCKS * BLOCK_BYTES
"""Shorter texts have no block to look at."""

MET, LOOKED = range(2)
RECURRENCE_COUNTS = 2


@inner
def _met(
    chain: NDArray[np.int32],
    k: int,
    stop: int,
    step: int,
    block: int,
    where: NDArray[np.int32],
    is_own: NDArray[np.bool_],
) -> bool:
    """Whether the word is in a block that is far enough from ``block``, but not farther, going along its chain."""
    while k != stop:
        distance = abs(where[chain[k]] - block)
        if distance >= 2 * NEAR_BLOCKS:
            return False
        if distance >= NEAR_BLOCKS and is_own[chain[k]]:
            return True
        k += step
    return False


@maker
def copied_words(n: int, live: Names, n_live: int, first: Names) -> NDArray[np.bool_]:
    """bool[n]: the words in a run of COPIED_WORDS that was there before.

    ``live`` are the places where a run is that repeats, ascending, and ``first`` the first place of each.
    """
    copied = np.zeros(n, np.bool_)
    for k in range(n_live):
        i = np.int64(live[k])
        if first[i] != i:
            copied[i : i + COPIED_WORDS] = True
    return copied


@maker
def measure_recurrence(names: Names, copied: NDArray[np.bool_], n_bytes: int, out: NDArray[np.int64]) -> None:
    """Counts how often a term could be looked for (LOOKED) and was met (MET).

    Args:
        names: uint32[n], for each word the place of its first occurrence.
        copied: bool[n], from :func:`copied_words`.
        n_bytes: of the text, at least LONG_BYTES.
        out: int64[RECURRENCE_COUNTS].
    """
    n, blocks = names.shape[0], n_bytes // BLOCK_BYTES
    # One entry for each word and block, in a chain back to the block before.
    entries = 0
    last, before = np.full(n, -1, np.int32), np.empty(n, np.int32)
    where, times, is_own = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.bool_)
    n_copied = 0
    block, ends = 0, n // blocks  # a text of fewer words than blocks has empty ones, which are passed over
    for i in range(n):
        while i >= ends:
            block += 1
            ends = (block + 1) * n // blocks
        entry = last[names[i]]
        if entry < 0 or where[entry] != block:
            where[entries], times[entries], is_own[entries], before[entries] = block, 0, False, entry
            entry = last[names[i]] = entries
            entries += 1
        times[entry] += 1
        is_own[entry] |= not copied[i]
        n_copied += copied[i]
    chain = np.empty(blocks, np.int32)
    for name in range(n):
        length, is_term = 0, False
        entry = last[name]
        while entry >= 0 and 2 * length <= blocks:
            chain[length] = entry
            is_term = is_term or times[entry] >= TERM_WORDS
            length += 1
            entry = before[entry]
        if not is_term or 2 * length > blocks:
            continue
        for k in range(length):
            entry = chain[k]
            if times[entry] < TERM_WORDS:
                continue
            if where[entry] >= 2 * NEAR_BLOCKS - 1:
                out[LOOKED] += 1
                out[MET] += is_own[entry] and _met(chain, k + 1, length, 1, where[entry], where, is_own)
            if where[entry] + 2 * NEAR_BLOCKS <= blocks:
                out[LOOKED] += 1
                out[MET] += is_own[entry] and _met(chain, k - 1, -1, -1, where[entry], where, is_own)
    if 2 * n_copied > n:
        out[LOOKED] = max(out[LOOKED], 1)  # a page again and again has no term, for every word is in every block
