"""What tells junk from text in any script: how letters follow each other, what lines and words are made of.

A text is natural language when its letters and words are used unevenly and follow each other with preferences; this holds
in every script, so no language model is needed. Four measures say it:

- *evenness* of letters, and of words: the share of pairs that are equal if all that occur were equally likely, over the
  share that are (1: drawn evenly, as in random letters; text in 387 languages has .3 to .7).
- *order* of letters, and of words: how much more often two pairs of neighbours are equal than if each were drawn on its
  own (1: shuffled or random; more in text). Both are estimates without bias, since pairs of occurrences are counted.

Two lists of words (:data:`curate.quality.junk_tables.WORD_LISTS`) tell filler text and cookie notices.

All that is measured here is a share, so long texts are measured in evenly spaced blocks: a book costs as much as a page of
:data:`curate.quality.junk_counts.BLOCKS` × :data:`curate.quality.junk_counts.BLOCK_BYTES` bytes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.text import text_buffers
from curate.quality.junk_counts import WORD_UNITS, count_signs
from curate.quality.junk_tables import (
    ALNUM,
    ALNUM_DISTINCT,
    ALNUM_EQUAL,
    CHANGES,
    CONSENT_WORDS,
    COOKIE_WORDS,
    DIGITS,
    ENTRIES,
    FILLER_WORDS,
    FRAGMENT_SUM,
    LETTERS,
    LINES,
    LONG_BYTES,
    MOJIBAKE,
    N_BYTES,
    PACKED_SIGNS,
    PAIRS,
    PAIRS_EQUAL,
    UNITS,
    UNSPACED_LETTERS,
    VISIBLE,
    WORDS,
    WORDS_DISTINCT,
    WORDS_EQUAL,
)


def _over(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[N]; NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: NDArray[np.float64] = numerator / denominator
    quotient[denominator == 0] = np.nan
    return quotient


def _evenness(n: NDArray[np.int64], distinct: NDArray[np.int64], equal: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[N]: equal pairs among ``n`` even draws that show so many distinct values, over those that there may be.

    Two standard deviations and 4 are added to those that there are, so that a few words prove nothing.

    ``V`` values drawn n times show ``V (1 - exp(-n / V))`` of them; V is found by bisection.
    """
    low, high = np.full(len(n), 1e-9), np.full(len(n), 64.0)  # of n / V
    share = distinct / np.maximum(n, 1)
    for _ in range(60):
        middle = (low + high) / 2
        is_low = -np.expm1(-middle) / middle > share
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    values = np.where(n / np.maximum(distinct, 1) >= 16, distinct, n / ((low + high) / 2))
    expected = n * (n - 1) / 2 / np.maximum(values, 1)
    return np.asarray(expected / (equal + 2 * np.sqrt(equal) + 4))


MIN_LETTERS, MIN_PAIRS, MIN_WORDS = 100, 200, 100
"""Fewer letters, pairs of neighbouring letters, or words say nothing of how they are used."""
MOST_UNSPACED = 0.2
"""Share of letters of scripts without spaces from which statistics of words say nothing."""


def measure_signs(texts: pa.LargeStringArray) -> dict[str, NDArray[np.float64]]:
    """Columns of the rule set ``junk``, each float64[N], NaN where there is too little to measure; rounded to 1e-4."""
    data, offsets = text_buffers(texts)
    c = count_signs(data, offsets).T
    spaced = c[UNSPACED_LETTERS] <= MOST_UNSPACED * c[LETTERS]
    order = (
        _over(c[PAIRS_EQUAL] + 1, c[PAIRS] * (c[PAIRS] - 1) // 2)
        / _over(c[ALNUM_EQUAL] + 1, c[ALNUM] * (c[ALNUM] - 1) // 2) ** 2
    )
    enough_pairs = c[PAIRS] >= MIN_PAIRS
    enough_words = spaced & (c[WORDS] >= MIN_WORDS)
    columns = {
        "letter_share": _over(c[LETTERS], c[VISIBLE]),
        "digit_share": _over(c[DIGITS], c[VISIBLE]),
        "letter_evenness": np.where(
            c[ALNUM] >= MIN_LETTERS, _evenness(c[ALNUM], c[ALNUM_DISTINCT], c[ALNUM_EQUAL]), np.nan
        ),
        "letter_repeats": np.where(
            c[ALNUM] >= MIN_PAIRS, _over(c[ALNUM_EQUAL], c[ALNUM] * (c[ALNUM] - 1) // 2), np.nan
        ),
        "letter_order": np.where(enough_pairs, order, np.nan),
        "class_changes": np.where(c[PAIRS] >= 50, _over(c[CHANGES], c[PAIRS]), np.nan),
        "long_token_share": _over(c[LONG_BYTES], c[N_BYTES]),
        "mojibake_share": _over(c[MOJIBAKE], c[VISIBLE]),
        "packed_code_share": _over(c[PACKED_SIGNS], c[VISIBLE]),
        "stamped_line_share": np.where(c[LINES] >= 5, _over(c[ENTRIES], c[LINES]), np.nan),
        "fragment_share": np.where(c[UNITS] >= 25 * WORD_UNITS, _over(c[FRAGMENT_SUM], c[UNITS]), np.nan),
        "word_evenness": np.where(enough_words, _evenness(c[WORDS], c[WORDS_DISTINCT], c[WORDS_EQUAL]), np.nan),
        "word_repeats": np.where(
            spaced & (c[WORDS] >= 2 * MIN_WORDS), _over(c[WORDS_EQUAL], c[WORDS] * (c[WORDS] - 1) // 2), np.nan
        ),
        "notice_share": _over(np.minimum(c[COOKIE_WORDS], c[CONSENT_WORDS]), c[WORDS]),
        "filler_share": _over(c[FILLER_WORDS], c[WORDS]),
    }
    return {f"junk_{name}": np.round(values, 4) for name, values in columns.items()}
