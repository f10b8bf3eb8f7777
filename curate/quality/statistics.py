"""The statistics of the published rules, one column each, in one compiled pass over the text.

No threshold is in them: every verdict follows from these columns (:mod:`curate.quality.rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.compiled import kernel, read_only
from curate.base.text import Bytes, Offsets, text_buffers
from curate.quality.grams import DUPLICATED_GRAMS, FILTER_BITS, TOP_GRAMS, measure_grams
from curate.quality.lines import (
    BULLET_LINES,
    CLOSED_LINES,
    ELLIPSES,
    ELLIPSIS_LINES,
    HASHES,
    LINE_COUNTS,
    LINES,
    N_CHARS,
    NEWLINES,
    PARAGRAPHS,
    PUNCTUATED_LINES,
    REPEATED_LINE_CHARS,
    REPEATED_LINES,
    REPEATED_PARAGRAPH_CHARS,
    REPEATED_PARAGRAPHS,
    REPEATED_SOLID_CHARS,
    SHORT_LINES,
    SOLID_LINES,
    SPLIT_LINES,
    count_newlines,
    measure_lines,
    measure_paragraphs,
    measure_split_lines,
    most_lines,
    table_size,
)
from curate.quality.naming import (
    ALPHA_WORDS,
    KNOWN_SLOTS,
    N_WORDS,
    NON_SYMBOL_CHARS,
    NON_SYMBOL_WORDS,
    SENTENCES,
    STOP_WORDS,
    STOP_WORDS_ANY_CASE,
    WORD_COUNTS,
    WORD_SLOTS,
    LineCounts,
    WordBuffers,
    name_words,
)
from curate.quality.recurrence import LONG_BYTES, LOOKED, MET, RECURRENCE_COUNTS, copied_words, measure_recurrence
from curate.quality.words import WordTables, word_hash, word_tables

STOP_WORD_LIST = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher, table A1 and section A.1.1 (arXiv:2112.11446): matched as they are, in small letters."""

MEASURED = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
"""Rule sets whose statistics :func:`measure` takes; of C4's, the sentences, which count on the text its lines leave."""

_GRAMS = LINE_COUNTS + WORD_COUNTS
_RECURRENCE = _GRAMS + len(TOP_GRAMS) + len(DUPLICATED_GRAMS)
_COUNTS = _RECURRENCE + RECURRENCE_COUNTS


@kernel
def _measure(
    data: Bytes,
    offsets: Offsets,
    tables: WordTables,
    stop_words: NDArray[np.uint64],
    depth: int,
    out: NDArray[np.int64],
) -> LineCounts:
    """Words and sentences by line; fills int64[N, _COUNTS].

    ``depth`` 0: only lines cut at newlines; 1: words, too; 2: paragraphs, bullets, n-grams and recurrence, too.
    """
    n = offsets.shape[0] - 1
    longest = 0
    for d in range(n):
        longest = max(longest, offsets[d + 1] - offsets[d])
    # Pages of these that no document needs are never touched, so they take no memory.
    names, places = np.empty(longest + 1, np.uint32), np.empty(longest + 2, np.uint32)
    starts, ends = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    buffers = WordBuffers(names, places, starts, ends, np.zeros((KNOWN_SLOTS, 3), np.uint64))
    spare, counts = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint32)
    live, seen = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint8)
    keys, values = np.empty(1 << 13, np.uint64), np.empty(1 << 13, np.uint32)
    table, bits = np.empty(2 * WORD_SLOTS, np.uint64), np.empty(1 << (FILTER_BITS - 5), np.uint64)
    line_keys = np.empty(1 << 8, np.uint64)
    first, last = offsets[0], offsets[n]
    line_counts = np.empty((most_lines(data, first, last) + n if depth else 0, 2), np.int32)
    lines = 0
    for d in range(n):
        start, end = offsets[d], offsets[d + 1]
        row = out[d]
        slots = table_size(count_newlines(data, start, end) + 1)
        if slots > line_keys.shape[0]:
            line_keys = np.empty(slots, np.uint64)
        measure_lines(data, start, end, tables.flags, line_keys, slots, row)
        if depth == 0:
            continue
        if depth == 2:
            measure_paragraphs(data, start, end, line_keys, slots, row)
            measure_split_lines(data, start, end, tables.flags, row)
        found = row[LINE_COUNTS:]
        table, lines = name_words(data, start, end, tables, stop_words, buffers, table, line_counts, lines, found)
        if depth == 2:
            is_long = end - start >= LONG_BYTES
            kept = names[: found[N_WORDS] if is_long else 0].copy()
            keys, values, n_live = measure_grams(
                found[N_WORDS], names, places, spare, counts, live, seen, bits, keys, values, row[_GRAMS:_RECURRENCE]
            )
            if is_long:
                copied = copied_words(kept.shape[0], live, n_live, spare)
                measure_recurrence(kept, copied, end - start, row[_RECURRENCE:])
    return line_counts[:lines]


@lru_cache(maxsize=1)
def _stop_words() -> NDArray[np.uint64]:
    words = [np.frombuffer(word.encode(), np.uint8) for word in STOP_WORD_LIST]
    return np.array([word_hash(word) for word in words], np.uint64)


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[N]; NaN where the denominator is 0, which no comparison fires on."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: NDArray[np.float64] = numerator / denominator
    quotient[denominator == 0] = np.nan
    return quotient


def measure(texts: pa.Array | pa.ChunkedArray, rule_sets: Sequence[str] = MEASURED, prefix: str = "") -> pa.Table:
    """The statistics of every text, one row each: n_bytes, n_chars, n_words, and those of ``rule_sets``.

    Args:
        texts: string column without nulls.
        rule_sets: of :data:`MEASURED`; n-grams are counted for the Gopher sets only, and with them ``rare_recurrence``
            (:mod:`curate.quality.recurrence`), NaN for short texts.
        prefix: put before the columns of the rule sets, and then the three lengths are left out.

    Returns:
        int64 counts and float64 ratios, NaN where a ratio has no denominator. Columns as in ``docs/quality.md``.
    """
    return measure_with_lines(texts, rule_sets, prefix)[0]


def measure_with_lines(
    texts: pa.Array | pa.ChunkedArray,
    rule_sets: Sequence[str] = MEASURED,
    prefix: str = "",
    known: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> tuple[pa.Table, LineCounts]:
    """:func:`measure`, and the words and sentences int32[L, 2] of every line (str.splitlines) that is not blank.

    ``known`` are the numbers of words and sentences of every text, each int64[N], where they need not be counted again;
    then there are no lines, and ``rule_sets`` may be of ``c4`` and ``fineweb`` only.
    """
    unknown = sorted(set(rule_sets) - set(MEASURED))
    if unknown:
        raise ValueError(f"no statistics for {unknown}; there are {list(MEASURED)}")
    data, offsets = read_only(*text_buffers(texts))
    counts = np.zeros((len(offsets) - 1, _COUNTS), np.int64)
    depth = 2 if _needs_grams(rule_sets) else 1 if known is None else 0
    lines = _measure(data, offsets, word_tables(), _stop_words(), depth, counts)
    if known is not None:
        counts[:, LINE_COUNTS + N_WORDS], counts[:, LINE_COUNTS + SENTENCES] = known
    return _columns(counts, np.diff(offsets), rule_sets, prefix), lines


def _needs_grams(rule_sets: Sequence[str]) -> bool:
    return "gopher_repetition" in rule_sets or "gopher_quality" in rule_sets


def _columns(counts: NDArray[np.int64], n_bytes: NDArray[np.int64], rule_sets: Sequence[str], prefix: str) -> pa.Table:
    line = counts[:, :LINE_COUNTS].T
    word = counts[:, LINE_COUNTS : LINE_COUNTS + WORD_COUNTS].T
    grams, terms = counts[:, _GRAMS:_RECURRENCE].T, counts[:, _RECURRENCE:].T
    n_chars, n_words = line[N_CHARS], word[N_WORDS]
    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {}
    if not prefix:
        columns |= {"n_bytes": n_bytes, "n_chars": n_chars.copy(), "n_words": n_words.copy()}
    if "gopher_repetition" in rule_sets:
        name = prefix + "gopher_repetition_"
        columns[name + "dup_para_frac"] = _ratio(line[REPEATED_PARAGRAPHS], line[PARAGRAPHS])
        columns[name + "dup_para_char_frac"] = _ratio(line[REPEATED_PARAGRAPH_CHARS], n_chars)
        columns[name + "dup_line_frac"] = _ratio(line[REPEATED_LINES], line[LINES])
        columns[name + "dup_line_char_frac"] = _ratio(line[REPEATED_LINE_CHARS], n_chars)
        for k, n in enumerate(TOP_GRAMS):
            columns[f"{name}top_{n}_gram"] = _ratio(grams[k], n_chars)
        for k, n in enumerate(DUPLICATED_GRAMS):
            columns[f"{name}duplicated_{n}_n_grams"] = _ratio(grams[len(TOP_GRAMS) + k], n_chars)
    if "gopher_quality" in rule_sets:
        name = prefix + "gopher_quality_"
        columns[name + "words"] = word[NON_SYMBOL_WORDS].copy()
        columns[name + "mean_word_length"] = _ratio(word[NON_SYMBOL_CHARS], word[NON_SYMBOL_WORDS])
        columns[name + "hash_ratio"] = _ratio(line[HASHES], n_words)
        columns[name + "ellipsis_ratio"] = _ratio(line[ELLIPSES], n_words)
        columns[name + "bullet_lines_ratio"] = _ratio(line[BULLET_LINES], line[SPLIT_LINES])
        columns[name + "ellipsis_lines_ratio"] = _ratio(line[ELLIPSIS_LINES], line[SPLIT_LINES])
        columns[name + "alpha_words_ratio"] = _ratio(word[ALPHA_WORDS], n_words)
        columns[name + "stop_words"] = word[STOP_WORDS].copy()
        columns[name + "alpha_words_ratio_corrected"] = _ratio(word[ALPHA_WORDS], word[NON_SYMBOL_WORDS])
        columns[name + "stop_words_corrected"] = word[STOP_WORDS_ANY_CASE].copy()
    if "c4" in rule_sets:
        columns[prefix + "c4_sentences"] = word[SENTENCES].copy()
    if "fineweb" in rule_sets:
        name = prefix + "fineweb_"
        columns[name + "lines"] = line[SOLID_LINES].copy()
        columns[name + "line_punct_ratio"] = _ratio(line[PUNCTUATED_LINES], line[SOLID_LINES])
        columns[name + "line_punct_ratio_corrected"] = _ratio(line[CLOSED_LINES], line[SOLID_LINES])
        columns[name + "short_line_ratio"] = _ratio(line[SHORT_LINES], line[SOLID_LINES])
        columns[name + "char_dup_ratio"] = _ratio(line[REPEATED_SOLID_CHARS], n_chars - line[NEWLINES])
        columns[name + "list_ratio"] = _ratio(line[NEWLINES], n_words)
    if not prefix and _needs_grams(rule_sets):
        columns["rare_recurrence"] = np.round(_ratio(terms[MET], terms[LOOKED]), 4)
    return pa.table(columns)
