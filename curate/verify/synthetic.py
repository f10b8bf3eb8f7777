"""Synthetic examples against their sources: every span is the source's, and every source is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curate.base.columns import flat_tokens, is_in
from curate.base.ids import synthetic_id
from curate.base.schemas import VALIDATION
from curate.verify.tables import read

if TYPE_CHECKING:
    from curate.inspect.reader import RunReader
    from curate.verify.verify import Report

_NAMED = 5
"""Examples of a file that are named."""


def check_synthetic(run: RunReader, report: Report) -> None:
    """Check the examples partition by partition."""
    tokens, copies = run.snapshots["tokens"].named(), run.snapshots["copies"].named()
    for file in run.snapshots["synthetic"].files:
        made = run.read(file)
        if not made.num_rows:
            continue
        drawn = read(run, copies[file.name], ["doc_id", "copies", "reason"])
        trained = (drawn["copies"].to_numpy() > 0) & (drawn["reason"].to_numpy() != VALIDATION)
        of = made["source_id"].to_numpy()
        wrong = ~is_in(of, drawn["doc_id"].to_numpy()[trained]) | (made["doc_id"].to_numpy() != synthetic_id(of))
        for row in np.flatnonzero(wrong)[:_NAMED]:
            report.fault("synthetic", f"{file.path}, source {of[row]}", "is in no training window")
        texts = read(run, tokens[file.name], ["doc_id", "token_ids"])
        pool = texts["doc_id"].to_numpy()
        (flat, offsets), (ids, bounds) = flat_tokens(texts), flat_tokens(made)
        bad = 0
        for row, spans in enumerate(made.select(["at", "start", "length"]).to_pylist()):
            report.count("synthetic", "examples")
            at_source = offsets[np.searchsorted(pool, of[row])] if is_in(of[row : row + 1], pool)[0] else None
            for at, start, length in zip(spans["at"], spans["start"], spans["length"], strict=True):
                report.count("synthetic", "tokens of sources", length)
                mine = ids[bounds[row] + at : bounds[row] + at + length]
                theirs = flat[:0] if at_source is None else flat[at_source + start : at_source + start + length]
                if bad < _NAMED and not np.array_equal(mine, theirs):
                    bad += 1
                    where = f"{file.path}, example {made['doc_id'][row]}"
                    report.fault("synthetic", where, f"its tokens from {at:,} on are not those of document {of[row]}")
