"""Everything that is measured of a batch of documents: the columns of the ``signals`` table, and the ``edits``.

Signals hold no threshold; they depend on the text, the models and the parameters of the line rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import schemas
from curate.quality.c4 import c4_lines, line_parameters
from curate.quality.classifier import classifier
from curate.quality.language import UNKNOWN, language_model
from curate.quality.statistics import measure
from curate.text import cut_spans

LineRules = Mapping[str, float | None]

EDITED = "edited_"
"""Prefix of FineWeb's columns on the text that C4's line rules leave; without those rules, the same as without it."""


def empty_signals(classifiers: Sequence[str]) -> pa.Table:
    """The ``signals`` table without a row, its classifier columns in the order given."""
    batch = pa.table(
        {
            "doc_id": pa.array([], pa.uint64()),
            "source": pa.array([], pa.string()),
            "text": pa.array([], pa.large_string()),
        }
    )
    signals, _ = _assemble(batch, None, {}, {})
    for name in classifiers:
        signals = signals.append_column(f"classifier_{name}", pa.array([], pa.float64()))
    return signals


def measure_signals(
    batch: pa.Table | pa.RecordBatch,
    language_model_path: str | None,
    classifiers: Mapping[str, Sequence[str]],
    rules: Mapping[str, LineRules | None],
) -> tuple[pa.Table, pa.Table]:
    """(signals, edits) of a batch of documents.

    Args:
        batch: doc_id, source, text; rows in doc_id order.
        language_model_path: without one, every language is ``und`` with score 0.
        classifiers: (model path, label) by name.
        rules: parameters of C4's line rules by source; None: the source's texts stay whole (C4's columns are then
            measured with the published parameters).

    Returns:
        One row of signals for each document in the same order, and schemas.EDITS sorted by (doc_id, start).
    """
    return _assemble(batch, language_model_path, classifiers, rules)


def _assemble(
    batch: pa.Table | pa.RecordBatch,
    language_model_path: str | None,
    classifiers: Mapping[str, Sequence[str]],
    rules: Mapping[str, LineRules | None],
) -> tuple[pa.Table, pa.Table]:
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    texts = batch["text"].combine_chunks()
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"doc_id": batch["doc_id"]}
    measured = measure(texts)
    columns |= {name: measured[name] for name in measured.column_names if name != "c4_sentences"}
    edits, line_columns = _line_rules(batch, texts, measured, rules)
    columns |= line_columns
    if language_model_path is None:
        columns["language"] = pa.array([UNKNOWN] * len(texts), pa.string())
        columns["language_score"] = pa.array(np.zeros(len(texts)))
    else:
        languages, scores = language_model(language_model_path).identify(texts)
        columns["language"], columns["language_score"] = languages, pa.array(scores)
    for name in sorted(classifiers):
        path, label = classifiers[name]
        columns[f"classifier_{name}"] = pa.array(classifier(path, label).score(texts))
    return pa.table(columns), edits


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


def _line_rules(
    batch: pa.Table, texts: pa.Array, measured: pa.Table, rules: Mapping[str, LineRules | None]
) -> tuple[pa.Table, dict[str, pa.Array]]:
    """(edits, C4's columns and FineWeb's on the edited texts)."""
    doc_ids = batch["doc_id"].to_numpy()
    published = line_parameters("published", {})
    values: dict[str, NDArray[np.int64] | NDArray[np.float64]] = {}
    again = [name for name in measured.column_names if name.startswith("fineweb_")]
    for name in again:
        values[EDITED + name] = measured[name].to_numpy().copy()
    values["c4_sentences"] = measured["c4_sentences"].to_numpy().copy()
    for name in ("c4_lines", "c4_kept_lines", "c4_lorem_ipsum", "c4_curly_bracket"):
        values[name] = np.zeros(len(texts), np.int64)
    tables = [schemas.EDITS.empty_table()]
    for parameters, rows in _groups(batch, rules):
        mine = texts if len(rows) == len(texts) else texts.take(pa.array(rows))
        lines = c4_lines(mine, parameters if parameters is not None else published)
        for name, column in lines.columns.items():
            values[name][rows] = column
        # Only texts that lost something are measured again.
        changed = np.unique(lines.rows)
        edited = cut_spans(mine.take(pa.array(changed)), np.searchsorted(changed, lines.rows), lines.starts, lines.ends)
        left = measure(edited, ("c4", "fineweb"), EDITED)
        values["c4_sentences"][rows[changed]] = left[EDITED + "c4_sentences"].to_numpy()
        if parameters is None:
            continue
        for name in again:
            values[EDITED + name][rows[changed]] = left[EDITED + name].to_numpy()
        tables.append(
            pa.table([doc_ids[rows[lines.rows]], lines.starts, lines.ends, lines.reasons], schema=schemas.EDITS)
        )
    edits = pa.concat_tables(tables).combine_chunks()
    if len(tables) > 2:
        edits = edits.sort_by([("doc_id", "ascending"), ("start", "ascending")])
    return edits, {name: pa.array(column) for name, column in values.items()}
