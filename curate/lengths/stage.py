"""The upsample stage: token masses by source and length give rates, rates give copies by hash of doc_id."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from curate import schemas
from curate.lengths.upsample import copies_of, plan_rates
from curate.recipe import Recipe
from curate.run.partition import column, rows_of
from curate.run.stage import Stage, StageRun, partition_specs
from curate.run.tasks import TaskContext


def _settings(recipe: Recipe) -> Any:
    return {**recipe.upsample.model_dump(), "seed": recipe.seed}


def _upsample(run: StageRun) -> None:
    section = run.recipe.upsample
    documents = run.tables["documents"]
    sidecars = {"tokens": run.tables["tokens"], "order": run.tables["order"]}
    step = run.step(
        "tmp/masses", masses_task, partition_specs(documents, sidecars, {"long_tokens": section.long_tokens})
    )
    total: Counter[tuple[str, bool, str]] = Counter()
    for masses in step.values("masses"):
        for source, is_long, n_docs, n_tokens in masses:
            total[source, is_long, "documents"] += n_docs
            total[source, is_long, "tokens"] += n_tokens
    groups = sorted({key[:2] for key in total})
    masses = [
        (source, is_long, total[source, is_long, "documents"], total[source, is_long, "tokens"])
        for source, is_long in groups
    ]
    plan = plan_rates(
        masses,
        section.method,
        long_share=section.long_share,
        budget=section.budget,
        max_copies=section.max_copies,
        weights=section.weights,
    )
    rates = [[source, is_long, rate] for (source, is_long), rate in zip(groups, plan.rates, strict=True)]
    params = {
        "rates": rates,
        "long_tokens": section.long_tokens,
        "max_copies": section.max_copies,
        "seed": run.recipe.seed,
    }
    step = run.step("copies", copies_task, partition_specs(documents, sidecars, params, [rates]))
    details = {
        "method": section.method,
        "masses": [list(mass) for mass in masses],
        "rates": rates,
        "report": plan.report,
    }
    run.commit("copies", step.files("copies"), step.counters, details)


def _lengths(context: TaskContext, documents: Any, tokens: Any, order: Any) -> tuple[Any, Any, Any]:
    """(doc_ids, n_tokens, sources) of the documents on the path (S2) of one partition."""
    ids = column(context.read(order, ["doc_id"]), "doc_id")
    counted = context.read(tokens, ["doc_id", "n_tokens"])
    n_tokens = column(counted, "n_tokens")[rows_of(ids, column(counted, "doc_id"))].astype(np.int64)
    named = context.read(documents, ["doc_id", "source"])
    sources = named["source"].take(pa.array(rows_of(ids, column(named, "doc_id")))).to_numpy()
    return ids, n_tokens, sources


def masses_task(context: TaskContext, documents: Any, tokens: Any, order: Any, long_tokens: int) -> None:
    """Documents and tokens of one partition by (source, long)."""
    _, n_tokens, sources = _lengths(context, documents, tokens, order)
    found = []
    for source in sorted(set(sources)):
        for is_long in (False, True):
            mine = n_tokens[(sources == source) & ((n_tokens > long_tokens) == is_long)]
            if len(mine):
                found.append([source, is_long, len(mine), int(mine.sum())])
    context.value("masses", found)


def copies_task(
    context: TaskContext,
    documents: Any,
    tokens: Any,
    order: Any,
    rates: list[list[Any]],
    long_tokens: int,
    max_copies: int,
    seed: int,
) -> None:
    """Copies of the documents of one partition."""
    ids, n_tokens, sources = _lengths(context, documents, tokens, order)
    rate = np.ones(len(ids))
    reason = np.full(len(ids), "", object)
    for source, is_long, value in rates:
        mine = (sources == source) & ((n_tokens > long_tokens) == is_long)
        rate[mine] = value
        reason[mine] = f"{source}.{'long' if is_long else 'short'}"
    copies = np.minimum(copies_of(rate, ids, seed), max_copies).astype(np.uint16)
    table = pa.table(
        {"doc_id": pa.array(ids), "copies": pa.array(copies), "reason": pa.array(reason, pa.string())},
        schema=schemas.COPIES,
    )
    context.write("copies", table)
    context.count("documents", int((copies > 0).sum()))
    context.count("copies", int(copies.sum()))
    context.count("not_drawn", int((copies == 0).sum()))
    context.count("tokens", int((copies * n_tokens).sum()))


UPSAMPLE = Stage("upsample", 1, ("documents", "tokens", "order"), ("copies",), _settings, _upsample, by_generation=True)
