"""The signals of a batch of documents: every measured column, and the spans that line rules cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import schemas
from curate.quality.c4 import c4_lines, no_lines
from curate.quality.classifier import score
from curate.quality.language import identify
from curate.quality.statistics import measure
from curate.text import cut_spans


def empty_signals(classifiers: Sequence[str]) -> pa.Table:
    """The columns of :func:`measure_signals` without rows."""
    columns: dict[str, Any] = {"doc_id": pa.array([], pa.uint64()), "language": pa.array([], pa.string())}
    columns["language_score"] = pa.array([], pa.float64())
    nothing = pa.array([], pa.large_string())
    measured = [measure(nothing), pa.table(no_lines(0)), measure(nothing, ("fineweb",), prefix="c4_")]
    columns |= {name: table[name] for table in measured for name in table.column_names}
    columns |= {f"classifier_{name}": pa.array([], pa.float64()) for name in classifiers}
    return pa.table(columns)


def measure_signals(
    batch: pa.Table,
    language_model: str | None,
    classifiers: Mapping[str, Sequence[str]],
    line_rules: Mapping[str, Mapping[str, float] | None],
) -> tuple[pa.Table, pa.Table]:
    """(signals, edits) of documents (doc_id, source, text).

    Args:
        batch: in doc_id order.
        language_model: path of a fastText model; None: languages are null.
        classifiers: {name: (path of the model, label)}.
        line_rules: {source: parameters of C4's line rules, or None: its texts stay whole}.

    Returns:
        Signals of every document: columns ``c4_…`` are null where no line rules are in force, and ``c4_fineweb_…`` are
        FineWeb's statistics of what the line rules leave. Edits as :data:`curate.schemas.EDITS`.
    """
    texts, n = batch["text"], batch.num_rows
    columns: dict[str, Any] = {"doc_id": batch["doc_id"]}
    if language_model is None:
        columns |= {"language": pa.nulls(n, pa.string()), "language_score": pa.nulls(n, pa.float64())}
    else:
        language, confidence = identify(texts, language_model)
        columns |= {"language": language, "language_score": pa.array(confidence)}
    measured = measure(texts)
    columns |= {name: measured[name] for name in measured.column_names}
    lines, edits = _line_signals(batch, line_rules)
    columns |= lines
    for name in sorted(classifiers):
        model, label = classifiers[name]
        columns[f"classifier_{name}"] = pa.array(score(texts, model, label))
    return pa.table(columns), edits


def _line_signals(
    batch: pa.Table, line_rules: Mapping[str, Mapping[str, float] | None]
) -> tuple[dict[str, pa.Array], pa.Table]:
    """Columns of the line rules, null where none are in force, and their edits."""
    n = batch.num_rows
    left = measure(pa.array([], pa.large_string()), ("fineweb",), prefix="c4_").schema
    columns: dict[str, pa.Array] = no_lines(n) | {field.name: pa.nulls(n, field.type) for field in left}
    edits = []
    for source in sorted(line_rules):
        parameters = line_rules[source]
        mask = pc.equal(batch["source"], source)
        rows = np.flatnonzero(mask.to_numpy())
        if parameters is None or len(rows) == 0:
            continue
        texts = batch["text"].take(pa.array(rows))
        lines = c4_lines(texts, parameters)
        cut = cut_spans(texts, lines.rows, lines.starts, lines.ends)
        found = {
            "c4_lorem_ipsum": lines.lorem_ipsum,
            "c4_curly_bracket": lines.curly_bracket,
            "c4_sentences": lines.sentences,
        }
        table = measure(cut, ("fineweb",), prefix="c4_")
        values = {name: pa.array(value) for name, value in found.items()}
        values |= {name: table[name].combine_chunks() for name in table.column_names}
        for name, value in values.items():
            columns[name] = pc.replace_with_mask(columns[name], mask.combine_chunks(), value)
        doc_ids = batch["doc_id"].take(pa.array(rows[lines.rows]))
        spans = {"start": pa.array(lines.starts), "end": pa.array(lines.ends)}
        edits.append(pa.table({"doc_id": doc_ids, **spans, "reason": pa.array(["c4"] * len(lines.rows), pa.string())}))
    table = pa.concat_tables(edits) if edits else schemas.EDITS.empty_table()
    return columns, table.cast(schemas.EDITS).sort_by([("doc_id", "ascending"), ("start", "ascending")])
