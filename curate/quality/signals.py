"""Everything that is measured of a batch of documents: the columns of the ``signals`` table, and the ``edits``.

Signals hold no threshold; they depend on the text, the models and the parameters of the line rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.text import cut_spans, sample_texts
from curate.quality.c4 import c4_lines, line_parameters
from curate.quality.language import UNKNOWN, language_model
from curate.quality.long_range import long_range
from curate.quality.pii import Found, find, masks, with_masks
from curate.quality.rule_sets import EDITED, RULE_SETS
from curate.quality.scorers import open_scorer
from curate.quality.statistics import measure_with_lines

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
