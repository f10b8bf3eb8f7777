"""The upsample stage: token masses by source and length give rates, rates give copies by hash of doc_id.

Steps: masses → rates, one a stage of the curriculum, in the driver → where a rate is no whole number, histograms of tokens
by hash → copies. Documents of the validation set are drawn first and are in no mass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.hashing import document_hash, unit_interval
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.mixing.quantiles import curve, histogram, places, stages_of_copies
from curate.mixing.rates import RatePlan, plan_rates
from curate.recipe import Recipe
from curate.stages.held_out import duplicate_components, held_out
from curate.tables.partition import column, rows_of
from curate.tables.snapshot import TableFile

_HISTOGRAM = pa.schema([("source", pa.string()), ("length", pa.int32()), ("tokens", pa.list_(pa.int64()))])
_CURVE = pa.schema([("source", pa.string()), ("length", pa.int32()), ("share", pa.list_(pa.float64()))])


def curriculum(recipe: Recipe) -> list[dict[str, Any]]:
    """The stages of the curriculum with their budgets; one without a schedule."""
    section = recipe.upsample
    long_share = section.long_share
    if section.long_short is not None:
        long_share = section.long_short / (1 + section.long_short)
    if not recipe.pack.schedule:
        return [{"budget": section.budget, "long_share": long_share, "long_tokens": section.long_tokens}]
    return [
        {
            "budget": stage.tokens,
            "long_share": stage.long_share or long_share,
            "long_tokens": stage.long_tokens or section.long_tokens,
        }
        for stage in recipe.pack.schedule
    ]


def _settings(recipe: Recipe) -> Any:
    share = recipe.shards.validation.share if recipe.shards.validation else 0.0
    limit = (
        {"min_rare_recurrence"} if not recipe.upsample.min_rare_recurrence else set()
    )  # a later field, off by default
    return {
        **recipe.upsample.model_dump(exclude=limit),
        "seed": recipe.seed,
        "curriculum": curriculum(recipe),
        "validation": share,
    }


def _upsample(run: StageRun) -> None:
    section, seed = run.recipe.upsample, run.recipe.seed
    documents = run.tables["documents"]
    stages = curriculum(run.recipe)
    # A document is of length class i when it has more tokens than i of the thresholds.
    edges = sorted({stage["long_tokens"] for stage in stages})
    share = run.recipe.shards.validation.share if run.recipe.shards.validation else 0.0
    limits = {
        "long_range_gain": section.min_long_range_gain,
        "compression_ratio": section.min_compression_ratio,
        "rare_recurrence": section.min_rare_recurrence,
    }
    limits = {name: limit for name, limit in limits.items() if limit}
    shared = {"edges": edges, "seed": seed, "validation": share, "limits": limits}
    components = duplicate_components(run, documents) if share else None
    extra: list[Any] = [components.content] if components else []
    shared["components"] = components.path if components else None
    extra.append(sorted(limits.items()))
    specs = _specs(run, shared, [edges, *extra])
    step = run.step("tmp/masses", masses_task, specs)
    total: Counter[tuple[str, int, int, str]] = Counter()
    for found in step.values("masses"):
        for source, length, bucket, n_documents, n_tokens in found:
            total[source, length, bucket, "documents"] += n_documents
            total[source, length, bucket, "tokens"] += n_tokens
    refused: Counter[tuple[str, int]] = Counter()
    for rows in step.values("refused"):
        refused.update({(source, bucket): number for source, bucket, number in rows})
    cells = sorted({key[:3] for key in total})
    masses = [(*cell, total[*cell, "documents"], total[*cell, "tokens"]) for cell in cells]
    plans, by_cell = _rates(run, masses, edges, stages)
    curves = None
    if any(rate != round(rate) for rates in by_cell.values() for rate in np.cumsum(rates)):
        curves = _curves(run, specs)
    rates = [[source, length, values] for (source, length), values in sorted(by_cell.items())]
    params = {**shared, "rates": rates, "curves": asdict(curves) if curves else None}
    params["staged"] = bool(run.recipe.pack.schedule)
    step = run.step("copies", copies_task, _specs(run, params, [rates, params["staged"], *extra]))
    details = {
        "method": section.method,
        "masses": [list(mass) for mass in masses],
        "length_edges": edges,
        "rates": rates,
        "report": plans[0].report if len(plans) == 1 else {"stages": [plan.report for plan in plans]},
        "lengths": length_table(masses, by_cell, refused),
    }
    run.commit("copies", step.files("copies"), step.counters, details)


def _specs(run: StageRun, params: dict[str, Any], extra: Sequence[Any]) -> list[Spec]:
    sidecars = {name: run.tables[name] for name in ("tokens", "order", *(["signals"] if params["limits"] else []))}
    specs = partition_specs(run.tables["documents"], sidecars, params, extra)
    for target, spec in enumerate(specs):
        spec.params["target"] = target
    return specs


def _rates(
    run: StageRun, masses: Sequence[Any], edges: list[int], stages: Sequence[dict[str, Any]]
) -> tuple[list[RatePlan], dict[tuple[str, int], list[float]]]:
    """One plan a stage of the curriculum, and by (source, length class) the rate of each."""
    section = run.recipe.upsample
    cells = sorted({mass[:2] for mass in masses})
    sizes = {cell: [sum(mass[k] for mass in masses if mass[:2] == cell) for k in (3, 4)] for cell in cells}
    plans, spent = [], [0.0] * len(cells)
    rates: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    for stage in stages:
        long_from = edges.index(stage["long_tokens"]) + 1
        plan = plan_rates(
            [(source, length >= long_from, *sizes[source, length]) for source, length in cells],
            "global" if section.method == "long_short" else section.method,
            long_share=stage["long_share"],
            budget=stage["budget"],
            max_copies=section.max_copies,
            weights=section.weights,
            spent=spent if len(stages) > 1 else None,
        )
        plans.append(plan)
        spent = [used + rate for used, rate in zip(spent, plan.rates, strict=True)]
        for cell, rate in zip(cells, plan.rates, strict=True):
            rates[cell].append(rate)
    return plans, rates


def length_table(
    masses: Sequence[Any], rates: dict[tuple[str, int], list[float]], refused: Mapping[tuple[str, int], int]
) -> list[dict[str, Any]]:
    """Documents and tokens by source and length, before and (expected) after; lengths are in (upto / 2, upto].

    ``refused`` are the documents, by source and power of two, that count as short because of what was measured.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for source, length, bucket, n_documents, n_tokens in masses:
        entry = found.setdefault(
            (source, bucket),
            {
                "source": source,
                "upto": 1 << bucket,
                "documents": 0,
                "refused": refused.get((source, bucket), 0),
                "before": 0,
                "after": 0.0,
            },
        )
        entry["documents"] += n_documents
        entry["before"] += n_tokens
        entry["after"] += n_tokens * sum(rates[source, length])
    return [{**entry, "after": round(entry["after"])} for _, entry in sorted(found.items())]


class _Lengths(NamedTuple):
    """The documents on the path (S2) of one partition: what decides on their copies."""

    ids: NDArray[np.uint64]
    n_tokens: NDArray[np.int64]
    sources: NDArray[np.object_]
    length: NDArray[np.int64]
    uniform: NDArray[np.float64]
    held_out: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    """Long, but not long-range: of length class 0."""


def _read_lengths(
    context: TaskContext,
    documents: Any,
    tokens: Any,
    order: Any,
    target: int,
    edges: list[int],
    seed: int,
    validation: float,
    components: str | None,
    limits: dict[str, float],
    signals: Any = None,
) -> _Lengths:
    ids = column(context.read(order, ["doc_id"]), "doc_id")
    counted = context.read(tokens, ["doc_id", "n_tokens"])
    n_tokens = column(counted, "n_tokens")[rows_of(ids, column(counted, "doc_id"))].astype(np.int64)
    named = context.read(documents, ["doc_id", "source"])
    sources = named["source"].take(pa.array(rows_of(ids, column(named, "doc_id")))).to_numpy()
    uniform = unit_interval(document_hash(seed, "upsample", ids))
    kept_out = held_out(context, ids, components, target, validation, seed)
    length = np.searchsorted(edges, n_tokens)
    refused = (length > 0) & _below_limits(context, signals, ids, limits)
    return _Lengths(ids, n_tokens, sources, np.where(refused, 0, length), uniform, kept_out, refused)


def _below_limits(
    context: TaskContext, signals: Any, ids: NDArray[np.uint64], limits: dict[str, float]
) -> NDArray[np.bool_]:
    """bool[n]: documents with a signal below its limit; one that was not measured is not below."""
    below = np.zeros(len(ids), np.bool_)
    if limits:
        measured = context.read(signals, ["doc_id", *limits])
        rows = rows_of(ids, column(measured, "doc_id"))
        for name, limit in limits.items():
            below |= column(measured, name)[rows].astype(np.float64) < limit
    return below


def _cells(found: _Lengths) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
    """(source, length class, which documents) of each cell that has training documents."""
    for source in sorted(set(found.sources)):
        mine = (found.sources == source) & ~found.held_out
        for length in np.unique(found.length[mine]).tolist():
            yield source, length, mine & (found.length == length)


def masses_task(context: TaskContext, **partition: Any) -> None:
    """Documents and tokens of one partition by source, length class and power of two."""
    found = _read_lengths(context, **partition)
    power = np.ceil(np.log2(np.maximum(found.n_tokens, 1))).astype(np.int64)
    masses: list[list[Any]] = []
    for source, length, mine in _cells(found):
        for upto in np.unique(power[mine]).tolist():
            some = mine & (power == upto)
            masses.append([source, length, upto, int(some.sum()), int(found.n_tokens[some].sum())])
    context.value("masses", masses)
    refused = found.refused & ~found.held_out
    counted = Counter(zip(found.sources[refused].tolist(), power[refused].tolist(), strict=True))
    context.value("refused", [[*cell, number] for cell, number in sorted(counted.items())])


def histograms_task(context: TaskContext, **partition: Any) -> None:
    """Tokens of one partition by source, length class and hash."""
    found = _read_lengths(context, **partition)
    rows = [
        {"source": source, "length": length, "tokens": histogram(found.uniform[mine], found.n_tokens[mine])}
        for source, length, mine in _cells(found)
    ]
    context.write("tmp/histograms", pa.Table.from_pylist(rows, schema=_HISTOGRAM))


def _curves(run: StageRun, specs: Sequence[Spec]) -> TableFile:
    """The share of each cell's tokens below a hash: only where a rate is no whole number."""
    histograms = run.publish("tmp/histograms", run.step("tmp/histograms.map", histograms_task, specs))
    spec = Spec("curves", [histograms.content], {"histograms": histograms.path})
    return run.step("tmp/curves.map", curves_task, [spec]).files("tmp/curves")[0]


def curves_task(context: TaskContext, histograms: str) -> None:
    """The share of each cell's tokens below a hash, from all partitions: a few kB a cell."""
    total: dict[tuple[str, int], NDArray[np.int64]] = {}
    for file in context.snapshot(histograms).files:
        for row in context.read(file).to_pylist():
            cell = row["source"], row["length"]
            total[cell] = total.get(cell, 0) + np.array(row["tokens"], np.int64)
    rows = [{"source": cell[0], "length": cell[1], "share": curve(total[cell])} for cell in sorted(total)]
    context.write("tmp/curves", pa.Table.from_pylist(rows, schema=_CURVE), name="curves")


def copies_task(
    context: TaskContext, rates: list[list[Any]], curves: Any, staged: bool, edges: list[int], **partition: Any
) -> None:
    """Copies of the documents of one partition, and the stage of the curriculum of each."""
    found = _read_lengths(context, edges=edges, **partition)
    drawn = {(source, length): values for source, length, values in rates}
    known = {}
    if curves is not None:
        known = {(row["source"], row["length"]): np.array(row["share"]) for row in context.read(curves).to_pylist()}
    rate = np.zeros((len(found.ids), max((len(values) for values in drawn.values()), default=1)))
    place, reason = found.uniform.copy(), np.full(len(found.ids), "", object)
    for source, length, mine in _cells(found):
        rate[mine] = drawn[source, length]
        reason[mine] = f"{source}.{_length_name(length, edges)}"
        reason[mine & found.refused] = f"{source}.not_long_range"
        if (source, length) in known:
            place[mine] = places(place[mine], known[source, length])
    rate[found.held_out, 0], place[found.held_out], reason[found.held_out] = 1.0, 0.0, schemas.VALIDATION
    stages, offsets = stages_of_copies(place, rate)
    copies = np.diff(offsets)
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(stages))
    columns = {
        "doc_id": pa.array(found.ids),
        "copies": pa.array(copies.astype(np.uint16)),
        "reason": pa.array(reason, pa.string()),
        "stages": lists if staged else pa.nulls(len(found.ids), lists.type),
    }
    context.write("copies", pa.table(columns, schema=schemas.COPIES))
    context.count("documents", int((copies > 0).sum()))
    context.count("copies", int(copies.sum()))
    context.count("not_long_range", int((found.refused & ~found.held_out).sum()))
    context.count("not_drawn", int((copies == 0).sum()))
    context.count("tokens", int((copies * found.n_tokens).sum()))
    context.count("validation.documents", int(found.held_out.sum()))
    context.count("validation.tokens", int(found.n_tokens[found.held_out].sum()))


def _length_name(kind: int, edges: list[int]) -> str:
    if len(edges) == 1:
        return "long" if kind else "short"
    return f"over_{edges[kind - 1]}" if kind else "short"


UPSAMPLE = Stage(
    "upsample",
    3,
    ("documents", "signals", "tokens", "duplicates", "order"),
    ("copies",),
    _settings,
    _upsample,
    by_generation=True,
)
