"""Everything that is measured of a batch of documents: the columns of the ``signals`` table, and the ``edits``.

Signals hold no threshold; they depend on the text, the models and the parameters of the line rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.compiled import kernel
from curate.base.text import Bytes, Offsets, cut_spans, sample_texts, text_buffers
from curate.quality import grams, lines, naming
from curate.quality.by_language import PLAIN, WordRules, language_keys, stop_words_of
from curate.quality.c4 import c4_lines, line_parameters
from curate.quality.icu_words import Breaks, breaks_of, check_words, no_breaks
from curate.quality.language import Identified, language_model
from curate.quality.naming import LineCounts, WordBuffers, name_words
from curate.quality.octets import longest_text
from curate.quality.pii import Matches, find, masks, with_masks
from curate.quality.rule_sets import EDITED, PRESETS, RULE_SETS
from curate.quality.scorers import open_scorer
from curate.quality.scripts import scripts_of
from curate.quality.stop_words import StopLists, gopher_lists, gopher_stop_words, stop_lists
from curate.quality.words import WordTables, word_tables

Int64s = NDArray[np.int64]
LineRules = Mapping[str, float | None]

RECURRENCE = "rare_recurrence"


def empty_signals(classifiers: Sequence[str], rule_sets: Sequence[str] = ()) -> pa.Table:
    """The ``signals`` table without a row, its classifier columns in the order given, then those of ``rule_sets``."""
    columns = {"doc_id": pa.uint64(), "source": pa.string(), "text": pa.large_string()}
    signals, _ = measure_signals(pa.schema(columns).empty_table(), None, {}, {})
    for name in classifiers:
        signals = signals.append_column(f"classifier_{name}", pa.array([], pa.float64()))
    return _with_rule_sets(signals, pa.array([], pa.large_string()), rule_sets)


def _with_rule_sets(signals: pa.Table, texts: pa.LargeStringArray, rule_sets: Sequence[str]) -> pa.Table:
    """``signals`` with the columns that rule sets measure themselves.

    Raises:
        ValueError: a set measures a column that has another name than its own, or another number of values.
    """
    for name in rule_sets:
        measure = RULE_SETS[name].measure
        for column, values in (measure(texts) if measure else {}).items():
            if not column.startswith(f"{name}_") or len(values) != len(texts):
                raise ValueError(
                    f"rule set {name}: {column} has {len(values)} values of {len(texts)} texts, or another name"
                )
            signals = signals.append_column(column, pa.array(values, pa.float64()))
    return signals


def measure_signals(
    batch: pa.Table | pa.RecordBatch,
    language_model_path: str | None,
    classifiers: Mapping[str, Sequence[str]],
    rules: Mapping[str, LineRules | None],
    masked: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    rule_sets: Sequence[str] = (),
    words: Mapping[str, WordRules] | None = None,
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
        words: how words are told, by source; the others have the plain ones, and Gopher's stop words.

    Raises:
        RequestError: words are to be ICU's, and it is another version than here.

    Returns:
        One row of signals for each document in the same order, and schemas.EDITS sorted by (doc_id, start).
    """
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    texts = batch["text"].combine_chunks()
    scripts = scripts_of(texts)
    if language_model_path is None:
        told = Identified.nothing(len(texts))
    else:
        told = language_model(language_model_path).identify(texts, scripts)
    measured, edits = _by_line_rules(batch, texts, rules, words or {}, (told.guesses, scripts))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"doc_id": batch["doc_id"]}
    columns |= {name: measured[name] for name in measured.column_names if name != RECURRENCE}
    columns |= {name: pa.array(values) for name, values in grams.long_range(texts).items()}
    columns[RECURRENCE] = measured[RECURRENCE]
    matches = find(texts)
    columns |= {name: pa.array(counts) for name, counts in matches.counts(len(texts)).items()}
    if masked:
        edits = _with_masks(batch, edits, matches, masked)
    columns["language"], columns["language_score"] = told.languages, pa.array(told.scores)
    columns["language_guess"], columns["script"] = told.guesses, scripts
    for name, (path, label) in sorted(classifiers.items()):
        columns[f"classifier_{name}"] = pa.array(open_scorer(path, label).score(texts))
    return _with_rule_sets(pa.table(columns), texts, rule_sets), edits


def _with_masks(
    batch: pa.Table, edits: pa.Table, matches: Matches, masked: Mapping[str, Mapping[str, Sequence[str]]]
) -> pa.Table:
    """``edits`` and the masks of every source together."""
    doc_ids = batch["doc_id"].to_numpy()
    sources = batch["source"].combine_chunks()
    for source in sorted(source for source, kinds in masked.items() if kinds):
        in_source = pc.equal(sources, source).to_numpy(zero_copy_only=False)
        edits = with_masks(edits, masks(matches.of(in_source), doc_ids, masked[source]))
    return edits


class _Group(NamedTuple):
    """Documents under the same rules for lines and words; rows ascending."""

    line_rules: LineRules | None
    words: WordRules
    rows: NDArray[np.int64]


def _groups(batch: pa.Table, rules: Mapping[str, LineRules | None], words: Mapping[str, WordRules]) -> list[_Group]:
    sources = batch["source"].combine_chunks()
    groups: dict[tuple[str, str], list[_Group]] = {}
    for source in pc.unique(sources).to_pylist():
        parameters, of_words = rules.get(source), words.get(source, WordRules())
        key = repr(sorted(parameters.items())) if parameters is not None else "", repr(of_words)
        rows = np.flatnonzero(pc.equal(sources, source).to_numpy(zero_copy_only=False))
        groups.setdefault(key, []).append(_Group(parameters, of_words, rows))
    return [
        group[0]._replace(rows=np.sort(np.concatenate([one.rows for one in group])))
        for _, group in sorted(groups.items())
    ]


def _by_line_rules(
    batch: pa.Table,
    texts: pa.Array,
    rules: Mapping[str, LineRules | None],
    words: Mapping[str, WordRules],
    told: tuple[pa.Array, pa.Array],
) -> tuple[pa.Table, pa.Table]:
    """(columns of the rule sets, edits) of all documents, those under the same rules together; ``told``: languages, scripts."""
    groups = _groups(batch, rules, words) or [_Group(None, WordRules(), np.zeros(0, np.int64))]
    doc_ids = batch["doc_id"].to_numpy()
    parts = []
    for group in groups:
        # One group, as most batches have, is the batch itself.
        rows = pa.array(group.rows) if len(groups) > 1 else None
        of_group, *of_told = (one if rows is None else one.take(rows) for one in (texts, *told))
        lists = None
        if group.words.folder is not None:
            lists = stop_lists(stop_words_of(group.words.folder), language_keys(*of_told))
        parts.append(_measured(of_group, doc_ids[group.rows], group.line_rules, group.words.words, lists))
    if len(groups) == 1:
        return parts[0]
    places = np.argsort(np.concatenate([group.rows for group in groups]))
    edits = pa.concat_tables([part[1] for part in parts]).sort_by([("doc_id", "ascending"), ("start", "ascending")])
    return pa.concat_tables([part[0] for part in parts]).take(pa.array(places)).combine_chunks(), edits


def _measured(
    texts: pa.Array, doc_ids: NDArray[np.uint64], parameters: LineRules | None, words: str, lists: StopLists | None
) -> tuple[pa.Table, pa.Table]:
    """(columns of the rule sets, edits) of documents under the same rules."""
    measured, line_counts = measure_with_lines(texts, words=words, lists=lists)
    c4 = c4_lines(texts, line_parameters("c4", {}) if parameters is None else parameters, line_counts)
    again, _ = measure_with_lines(c4.cited_lines, ("c4",), words=words)
    np.add.at(c4.kept_words, c4.cited_rows, again["n_words"].to_numpy())
    np.add.at(c4.kept_sentences, c4.cited_rows, again["c4_sentences"].to_numpy())
    changed, places = np.unique(c4.rows, return_inverse=True)
    counts = (c4.kept_words[changed], c4.kept_sentences[changed])
    columns = {name: measured[name] for name in measured.column_names}
    columns |= {name: pa.array(column) for name, column in c4.columns.items()}
    columns["c4_sentences"] = _with_values(measured["c4_sentences"], changed, counts[1])
    of_fineweb = [name for name in measured.column_names if name.startswith("fineweb_")]
    columns |= {EDITED + name: measured[name] for name in of_fineweb}
    if parameters is None:
        return pa.table(columns), schemas.EDITS.empty_table()
    edited = cut_spans(texts.take(pa.array(changed)), places.astype(np.int64), c4.starts, c4.ends)
    left, _ = measure_with_lines(edited, ("c4", "fineweb"), EDITED, counts)
    columns |= {EDITED + name: _with_values(measured[name], changed, left[EDITED + name]) for name in of_fineweb}
    nothing = pa.nulls(len(c4.rows), pa.string())
    edits = pa.table([doc_ids[c4.rows], c4.starts, c4.ends, c4.reasons, nothing], schema=schemas.EDITS)
    return pa.table(columns), edits


def _with_values(column: pa.ChunkedArray, rows: NDArray[np.int64], values: Any) -> pa.Array:
    """``column`` with other values in these rows."""
    changed = column.to_numpy().copy()
    changed[rows] = values
    return pa.array(changed)


def compile_kernels() -> None:
    """Compile the kernels of this package, but those of models, on a few texts."""
    texts = sample_texts()
    ids = pa.array(range(len(texts)), pa.uint64())
    batch = pa.table({"doc_id": ids, "source": ["a"] * len(texts), "text": texts})
    measure_signals(batch, None, {}, {"a": line_parameters("default", {})}, rule_sets=PRESETS["default"])


MEASURED = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
"""Rule sets whose statistics :func:`measure` takes; of C4's, the sentences, which count on the text its lines leave."""

_GRAMS = lines.LINE_COUNTS + naming.WORD_COUNTS
_RECURRENCE = _GRAMS + len(grams.TOP_GRAMS) + len(grams.DUPLICATED_GRAMS)
_COUNTS = _RECURRENCE + grams.RECURRENCE_COUNTS


@kernel
def _measure(
    data: Bytes,
    offsets: Offsets,
    tables: WordTables,
    stop_words: NDArray[np.uint64],
    lists: StopLists,
    breaks: Breaks,
    depth: int,
    out: Int64s,
) -> LineCounts:
    """Words and sentences by line; fills int64[N, _COUNTS].

    ``depth`` 0: only lines cut at newlines; 1: words, too; 2: paragraphs, bullets, n-grams and recurrence, too.
    """
    n = offsets.shape[0] - 1
    longest = longest_text(offsets, offsets[1:])
    # Pages of these that no document needs are never touched, so they take no memory.
    names, places = np.empty(longest + 1, np.uint32), np.empty(longest + 2, np.uint32)
    starts, ends = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    known = np.zeros((naming.KNOWN_SLOTS, 3), np.uint64)
    gram_buffers = grams.gram_buffers(longest)
    table, line_keys = np.empty(2 * naming.WORD_SLOTS, np.uint64), np.empty(1 << 8, np.uint64)
    line_counts = np.empty((lines.most_lines(data, offsets[0], offsets[n]) + n if depth else 0, 2), np.int32)
    n_lines = 0
    for d in range(n):
        start, end = offsets[d], offsets[d + 1]
        row = out[d]
        slots = lines.table_size(lines.count_newlines(data, start, end) + 1)
        if slots > line_keys.shape[0]:
            line_keys = np.empty(slots, np.uint64)
        keys = line_keys[:slots]
        lines.measure_lines(data, start, end, tables.flags, keys, row)
        if depth == 0:
            continue
        if depth == 2:
            lines.measure_paragraphs(data, start, end, keys, row)
            lines.measure_split_lines(data, start, end, tables.flags, row)
        counts = row[lines.LINE_COUNTS :]
        own = lists.words[lists.first[lists.of[d]] : lists.first[lists.of[d] + 1]]
        word_buffers = WordBuffers(names, places, starts, ends, known, breaks, stop_words, own)
        table, n_lines = name_words(data, start, end, tables, word_buffers, table, line_counts, n_lines, counts)
        if depth == 2:
            n_words, is_long = counts[naming.N_WORDS], end - start >= grams.LONG_BYTES
            kept = names[: n_words if is_long else 0].copy()
            n_live = grams.measure_grams(n_words, names, places, gram_buffers, row[_GRAMS:_RECURRENCE])
            if is_long:
                copied = grams.copied_words(n_words, gram_buffers.live, n_live, gram_buffers.spare)
                grams.measure_recurrence(kept, copied, end - start, row[_RECURRENCE:])
    return line_counts[:n_lines]


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
    words: str = PLAIN,
    lists: StopLists | None = None,
) -> tuple[pa.Table, LineCounts]:
    """:func:`measure`, and the words and sentences int32[L, 2] of every line (str.splitlines) that is not blank.

    ``known`` are the numbers of words and sentences of every text, each int64[N], where they need not be counted again;
    then there are no lines, and ``rule_sets`` may be of ``c4`` and ``fineweb`` only. ``words`` are ``plain`` or those of
    ``icu <version>`` (:mod:`curate.quality.icu_words`); ``lists`` are stop words in place of Gopher's.
    """
    unknown = sorted(set(rule_sets) - set(MEASURED))
    if unknown:
        raise ValueError(f"no statistics for {unknown}; there are {list(MEASURED)}")
    data, offsets = text_buffers(texts)
    counts = np.zeros((len(offsets) - 1, _COUNTS), np.int64)
    depth = 2 if _needs_grams(rule_sets) else 1 if known is None else 0
    check_words(words)
    breaks = no_breaks() if words == PLAIN or depth == 0 else breaks_of(texts)
    lists = lists or gopher_lists(len(offsets) - 1)
    line_counts = _measure(data, offsets, word_tables(), gopher_stop_words(), lists, breaks, depth, counts)
    if known is not None:
        counts[:, lines.LINE_COUNTS + naming.N_WORDS], counts[:, lines.LINE_COUNTS + naming.SENTENCES] = known
    return _columns(counts, np.diff(offsets), rule_sets, prefix), line_counts


def _needs_grams(rule_sets: Sequence[str]) -> bool:
    return "gopher_repetition" in rule_sets or "gopher_quality" in rule_sets


def _columns(counts: NDArray[np.int64], n_bytes: NDArray[np.int64], rule_sets: Sequence[str], prefix: str) -> pa.Table:
    line = counts[:, : lines.LINE_COUNTS].T
    word = counts[:, lines.LINE_COUNTS : lines.LINE_COUNTS + naming.WORD_COUNTS].T
    gram, terms = counts[:, _GRAMS:_RECURRENCE].T, counts[:, _RECURRENCE:].T
    n_chars, n_words = line[lines.N_CHARS], word[naming.N_WORDS]
    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {}
    if not prefix:
        columns |= {"n_bytes": n_bytes, "n_chars": n_chars.copy(), "n_words": n_words.copy()}
    if "gopher_repetition" in rule_sets:
        name = prefix + "gopher_repetition_"
        columns[name + "dup_para_frac"] = _ratio(line[lines.REPEATED_PARAGRAPHS], line[lines.PARAGRAPHS])
        columns[name + "dup_para_char_frac"] = _ratio(line[lines.REPEATED_PARAGRAPH_CHARS], n_chars)
        columns[name + "dup_line_frac"] = _ratio(line[lines.REPEATED_LINES], line[lines.LINES])
        columns[name + "dup_line_char_frac"] = _ratio(line[lines.REPEATED_LINE_CHARS], n_chars)
        for k, n in enumerate(grams.TOP_GRAMS):
            columns[f"{name}top_{n}_gram"] = _ratio(gram[k], n_chars)
        for k, n in enumerate(grams.DUPLICATED_GRAMS):
            columns[f"{name}duplicated_{n}_n_grams"] = _ratio(gram[len(grams.TOP_GRAMS) + k], n_chars)
    if "gopher_quality" in rule_sets:
        name = prefix + "gopher_quality_"
        columns[name + "words"] = word[naming.NON_SYMBOL_WORDS].copy()
        columns[name + "mean_word_length"] = _ratio(word[naming.NON_SYMBOL_CHARS], word[naming.NON_SYMBOL_WORDS])
        columns[name + "hash_ratio"] = _ratio(line[lines.HASHES], n_words)
        columns[name + "ellipsis_ratio"] = _ratio(line[lines.ELLIPSES], n_words)
        columns[name + "bullet_lines_ratio"] = _ratio(line[lines.BULLET_LINES], line[lines.SPLIT_LINES])
        columns[name + "ellipsis_lines_ratio"] = _ratio(line[lines.ELLIPSIS_LINES], line[lines.SPLIT_LINES])
        columns[name + "alpha_words_ratio"] = _ratio(word[naming.ALPHA_WORDS], n_words)
        columns[name + "stop_words"] = word[naming.STOP_WORDS].copy()
        columns[name + "alpha_words_ratio_corrected"] = _ratio(word[naming.ALPHA_WORDS], word[naming.NON_SYMBOL_WORDS])
        columns[name + "stop_words_corrected"] = word[naming.STOP_WORDS_ANY_CASE].copy()
    if "c4" in rule_sets:
        columns[prefix + "c4_sentences"] = word[naming.SENTENCES].copy()
    if "fineweb" in rule_sets:
        name = prefix + "fineweb_"
        columns[name + "lines"] = line[lines.SOLID_LINES].copy()
        columns[name + "line_punct_ratio"] = _ratio(line[lines.PUNCTUATED_LINES], line[lines.SOLID_LINES])
        columns[name + "line_punct_ratio_corrected"] = _ratio(line[lines.CLOSED_LINES], line[lines.SOLID_LINES])
        columns[name + "short_line_ratio"] = _ratio(line[lines.SHORT_LINES], line[lines.SOLID_LINES])
        columns[name + "char_dup_ratio"] = _ratio(line[lines.REPEATED_SOLID_CHARS], n_chars - line[lines.NEWLINES])
        columns[name + "list_ratio"] = _ratio(line[lines.NEWLINES], n_words)
    if not prefix and _needs_grams(rule_sets):
        columns["rare_recurrence"] = np.round(_ratio(terms[grams.MET], terms[grams.LOOKED]), 4)
    return pa.table(columns)
