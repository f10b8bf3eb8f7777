"""Everything that is measured of a batch of documents: the columns of the ``signals`` table, and the ``edits``.

Signals hold no threshold; they depend on the text, the models and the parameters of the line rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.compiled import kernel
from curate.base.text import Bytes, Offsets, cut_spans, sample_texts, text_buffers
from curate.quality.c4 import c4_lines, line_parameters
from curate.quality.grams import (
    DUPLICATED_GRAMS,
    FILTER_BITS,
    LONG_BYTES,
    LOOKED,
    MET,
    RECURRENCE_COUNTS,
    TOP_GRAMS,
    copied_words,
    long_range,
    measure_grams,
    measure_recurrence,
)
from curate.quality.language import UNKNOWN, language_model
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
from curate.quality.pii import Found, find, masks, with_masks
from curate.quality.rule_sets import EDITED, RULE_SETS
from curate.quality.scorers import open_scorer
from curate.quality.words import WordTables, word_hash, word_tables

LineRules = Mapping[str, float | None]

RECURRENCE = "rare_recurrence"


def empty_signals(classifiers: Sequence[str], rule_sets: Sequence[str] = ()) -> pa.Table:
    """The ``signals`` table without a row, its classifier columns in the order given, then those of ``rule_sets``."""
    batch = pa.table(
        {
            "doc_id": pa.array([], pa.uint64()),
            "source": pa.array([], pa.string()),
            "text": pa.array([], pa.large_string()),
        }
    )
    signals, _ = _assemble(batch, None, {}, {}, {})
    for name in classifiers:
        signals = signals.append_column(f"classifier_{name}", pa.array([], pa.float64()))
    for name, values in _of_rule_sets(batch["text"].combine_chunks(), rule_sets).items():
        signals = signals.append_column(name, values)
    return signals


def _of_rule_sets(texts: pa.LargeStringArray, rule_sets: Sequence[str]) -> dict[str, pa.Array]:
    """The columns that rule sets measure themselves.

    Raises:
        ValueError: a set measures a column that has another name than its own, or another number of values.
    """
    found: dict[str, pa.Array] = {}
    for name in rule_sets:
        measure = RULE_SETS[name].measure
        for column, values in (measure(texts) if measure else {}).items():
            if not column.startswith(f"{name}_") or len(values) != len(texts):
                raise ValueError(
                    f"rule set {name}: {column} has {len(values)} values of {len(texts)} texts, or another name"
                )
            found[column] = pa.array(values, pa.float64())
    return found


def measure_signals(
    batch: pa.Table | pa.RecordBatch,
    language_model_path: str | None,
    classifiers: Mapping[str, Sequence[str]],
    rules: Mapping[str, LineRules | None],
    masked: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    rule_sets: Sequence[str] = (),
) -> tuple[pa.Table, pa.Table]:
    """(signals, edits) of a batch of documents.

    Args:
        batch: doc_id, source, text; rows in doc_id order.
        language_model_path: without one, every language is ``und`` with score 0.
        classifiers: (model path, label) by name.
        rules: parameters of C4's line rules by source; None: the source's texts stay whole (C4's columns are then
            measured with the published parameters).
        masked: what stands for personal data, by source and kind (:data:`curate.quality.pii.KINDS`); kinds that are not
            named are counted only.
        rule_sets: names of sets that measure columns of their own.

    Returns:
        One row of signals for each document in the same order, and schemas.EDITS sorted by (doc_id, start).
    """
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    signals, edits = _assemble(batch, language_model_path, classifiers, rules, masked or {})
    for name, values in _of_rule_sets(batch["text"].combine_chunks(), rule_sets).items():
        signals = signals.append_column(name, values)
    return signals, edits


def _assemble(
    batch: pa.Table,
    language_model_path: str | None,
    classifiers: Mapping[str, Sequence[str]],
    rules: Mapping[str, LineRules | None],
    masked: Mapping[str, Mapping[str, Sequence[str]]],
) -> tuple[pa.Table, pa.Table]:
    texts = batch["text"].combine_chunks()
    measured, edits = _by_line_rules(batch, texts, rules)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"doc_id": batch["doc_id"]}
    columns |= {name: measured[name] for name in measured.column_names if name != RECURRENCE}
    columns |= {name: pa.array(values) for name, values in long_range(texts).items()}
    columns[RECURRENCE] = measured[RECURRENCE]
    found = find(texts)
    columns |= {name: pa.array(counts) for name, counts in found.counts(len(texts)).items()}
    if any(masked.values()):
        edits = _with_masks(batch, edits, found, masked)
    if language_model_path is None:
        columns["language"] = pa.array([UNKNOWN] * len(texts), pa.string())
        columns["language_score"] = pa.array(np.zeros(len(texts)))
    else:
        languages, scores = language_model(language_model_path).identify(texts)
        columns["language"], columns["language_score"] = languages, pa.array(scores)
    for name in sorted(classifiers):
        path, label = classifiers[name]
        columns[f"classifier_{name}"] = pa.array(open_scorer(path, label).score(texts))
    return pa.table(columns), edits


def _with_masks(
    batch: pa.Table, edits: pa.Table, found: Found, masked: Mapping[str, Mapping[str, Sequence[str]]]
) -> pa.Table:
    """``edits`` and the masks of every source together."""
    doc_ids = batch["doc_id"].to_numpy()
    sources = batch["source"].combine_chunks()
    for source in sorted(source for source, kinds in masked.items() if kinds):
        mine = pc.equal(sources, source).to_numpy(zero_copy_only=False)
        cuts = (
            np.searchsorted(doc_ids, edits["doc_id"].to_numpy()),
            edits["start"].to_numpy(),
            edits["end"].to_numpy(),
        )
        both = with_masks((*cuts, edits["reason"], edits["replacement"]), masks(found.of(mine), masked[source]))
        ids = doc_ids[np.array(both.pop("row"), np.int64)]
        edits = pa.table({"doc_id": pa.array(ids, pa.uint64()), **both}, schema=schemas.EDITS)
    return edits


def _groups(batch: pa.Table, rules: Mapping[str, LineRules | None]) -> list[tuple[LineRules | None, NDArray[np.int64]]]:
    """(line rules, rows) of the documents under the same line rules; rows ascending."""
    sources = batch["source"].combine_chunks()
    groups: dict[str, tuple[LineRules | None, list[NDArray[np.int64]]]] = {}
    for source in pc.unique(sources).to_pylist():
        parameters = rules.get(source)
        key = repr(sorted(parameters.items())) if parameters is not None else ""
        rows = np.flatnonzero(pc.equal(sources, source).to_numpy(zero_copy_only=False))
        groups.setdefault(key, (parameters, []))[1].append(rows)
    return [(parameters, np.sort(np.concatenate(rows))) for _, (parameters, rows) in sorted(groups.items())]


def _by_line_rules(
    batch: pa.Table, texts: pa.Array, rules: Mapping[str, LineRules | None]
) -> tuple[pa.Table, pa.Table]:
    """(columns of the rule sets, edits) of all documents, those under the same line rules together."""
    groups = _groups(batch, rules) or [(None, np.zeros(0, np.int64))]
    doc_ids = batch["doc_id"].to_numpy()
    if len(groups) == 1:
        return _measured(texts, doc_ids, groups[0][0])
    parts = [_measured(texts.take(pa.array(rows)), doc_ids[rows], parameters) for parameters, rows in groups]
    places = np.argsort(np.concatenate([rows for _, rows in groups]))
    edits = pa.concat_tables([part[1] for part in parts]).sort_by([("doc_id", "ascending"), ("start", "ascending")])
    return pa.concat_tables([part[0] for part in parts]).take(pa.array(places)).combine_chunks(), edits


def _measured(texts: pa.Array, doc_ids: NDArray[np.uint64], parameters: LineRules | None) -> tuple[pa.Table, pa.Table]:
    """(columns of the rule sets, edits) of documents under the same line rules."""
    measured, line_counts = measure_with_lines(texts)
    lines = c4_lines(texts, parameters if parameters is not None else line_parameters("published", {}), line_counts)
    changed, places = np.unique(lines.rows, return_inverse=True)
    words, sentences = lines.kept_words, lines.kept_sentences
    again, _ = measure_with_lines(lines.cited_lines, ("c4",))
    np.add.at(words, lines.cited_rows, again["n_words"].to_numpy())
    np.add.at(sentences, lines.cited_rows, again["c4_sentences"].to_numpy())
    words, sentences = words[changed], sentences[changed]
    columns = {name: measured[name] for name in measured.column_names}
    columns |= {name: pa.array(column) for name, column in lines.columns.items()}
    sentences_left = measured["c4_sentences"].to_numpy().copy()
    sentences_left[changed] = sentences
    columns["c4_sentences"] = pa.array(sentences_left)
    of_fineweb = [name for name in measured.column_names if name.startswith("fineweb_")]
    columns |= {EDITED + name: measured[name] for name in of_fineweb}
    if parameters is None:
        return pa.table(columns), schemas.EDITS.empty_table()
    edited = cut_spans(texts.take(pa.array(changed)), places.astype(np.int64), lines.starts, lines.ends)
    left, _ = measure_with_lines(edited, ("c4", "fineweb"), EDITED, (words, sentences))
    for name in of_fineweb:
        values = measured[name].to_numpy().copy()
        values[changed] = left[EDITED + name].to_numpy()
        columns[EDITED + name] = pa.array(values)
    nothing = pa.nulls(len(lines.rows), pa.string())
    edits = pa.table([doc_ids[lines.rows], lines.starts, lines.ends, lines.reasons, nothing], schema=schemas.EDITS)
    return pa.table(columns), edits


def compile_kernels() -> None:
    """Compile the kernels of this package, but those of models, on a few texts."""
    texts = sample_texts()
    ids = pa.array(range(len(texts)), pa.uint64())
    batch = pa.table({"doc_id": ids, "source": ["a"] * len(texts), "text": texts})
    measure_signals(batch, None, {}, {"a": line_parameters("default", {})})


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
            (:mod:`curate.quality.grams`), NaN for short texts.
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
    data, offsets = text_buffers(texts)
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
