"""The upsample stage: token masses by source and length give rates, rates give copies by hash of doc_id.

Steps: masses → rates by phase of the curriculum → histograms of tokens by hash, where a rate is no whole number → copies.
The validation set is drawn first, by hash of the duplicate component, and is in no mass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, column, is_in, rows_of
from curate.base.hashing import document_hash, unit_interval
from curate.engine.context import TaskContext
from curate.engine.exchange import read_slices, send_to_partitions
from curate.engine.stage import Partition, Stage, StageRun, Step
from curate.engine.task import Exchange, PartitionTask, Task
from curate.mixing.rates import RatePlan, curve, histogram, places, plan_rates, stages_of_copies
from curate.recipe import Recipe
from curate.tables.snapshot import Snapshot, TableFile, TableRef

TASK_ROWS = 2_000_000
"""Duplicates that one task routes to the partitions of their keepers, about."""

COMPONENTS = Exchange(
    "components",
    "duplicate components to partitions",
    to="partition",
    applies=lambda recipe: recipe.shards.validation is not None,
)

_COMPONENT = pa.schema([("doc_id", pa.uint64()), ("component", pa.uint64())])
_HISTOGRAM = pa.schema([("source", pa.string()), ("length", pa.int32()), ("tokens", pa.list_(pa.int64()))])
_CURVE = pa.schema([("source", pa.string()), ("length", pa.int32()), ("share", pa.list_(pa.float64()))])

Cell = tuple[str, int]
"""(source, length class)."""

Mass = tuple[str, int, int, int, int]
"""(source, length class, power of two that the lengths reach up to, documents, tokens)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of the curriculum: its tokens, and what is wanted of long documents."""

    budget: int | None
    long_share: float
    long_tokens: int


def curriculum(recipe: Recipe) -> list[Phase]:
    """The phases of the curriculum; a single one without a schedule."""
    section, ratio = recipe.upsample, recipe.upsample.long_short
    long_share = section.long_share if ratio is None else ratio / (1 + ratio)
    if not recipe.pack.schedule:
        return [Phase(section.budget, long_share, section.long_tokens)]
    return [
        Phase(phase.tokens, phase.long_share or long_share, phase.long_tokens or section.long_tokens)
        for phase in recipe.pack.schedule
    ]


def _validation_share(recipe: Recipe) -> float:
    return recipe.shards.validation.share if recipe.shards.validation else 0.0


def _settings(recipe: Recipe) -> Any:
    return {
        **recipe.upsample.model_dump(),
        "seed": recipe.seed,
        "curriculum": [asdict(phase) for phase in curriculum(recipe)],
        "validation": _validation_share(recipe),
    }


def _upsample(run: StageRun) -> None:
    phases, is_staged = curriculum(run.recipe), bool(run.recipe.pack.schedule)
    # A document is of length class i when it has more tokens than i of the thresholds.
    edges = sorted({phase.long_tokens for phase in phases})
    rule = _length_rule(run, edges)
    parts = run.partitions("tokens", "order", *(["signals"] if rule.limits else []))
    step = run.step("tmp/masses", [MassesTask(**part.fields, target=part.index, rule=rule) for part in parts])
    masses, refused = _sum_masses(step)
    plans, rates = _rates(run, masses, edges, phases)
    curves = None
    if any(rate != round(rate) for values in rates.values() for rate in np.cumsum(values)):
        curves = _curves(run, parts, rule)
    copies = [
        CopiesTask(**part.fields, target=part.index, rule=rule, rates=rates, curves=curves, is_staged=is_staged)
        for part in parts
    ]
    details = {
        "method": run.recipe.upsample.method,
        "masses": [list(mass) for mass in masses],
        "length_edges": edges,
        "rates": [[source, length, values] for (source, length), values in sorted(rates.items())],
        "report": plans[0].report if len(plans) == 1 else {"stages": [plan.report for plan in plans]},
        "lengths": length_table(masses, rates, refused),
    }
    run.write("copies", copies, details)


def _length_rule(run: StageRun, edges: Sequence[int]) -> LengthRule:
    """Which documents are long, and which are held out."""
    section, share = run.recipe.upsample, _validation_share(run.recipe)
    limits = {
        "long_range_gain": section.min_long_range_gain,
        "compression_ratio": section.min_compression_ratio,
        "rare_recurrence": section.min_rare_recurrence,
    }
    limits = {name: limit for name, limit in limits.items() if limit}
    components = _duplicate_components(run, run.tables["documents"]).ref if share else None
    return LengthRule(limits, tuple(edges), run.recipe.seed, share, components)


def _sum_masses(step: Step) -> tuple[list[Mass], Counter[Cell]]:
    """The masses of all partitions, sorted; documents that count as short, by source and power of two."""
    total: dict[tuple[str, int, int], tuple[int, int]] = {}
    for source, length, power, n_documents, n_tokens in chain.from_iterable(step.values("masses")):
        before = total.get((source, length, power), (0, 0))
        total[source, length, power] = before[0] + n_documents, before[1] + n_tokens
    refused: Counter[Cell] = Counter()
    for source, power, count in chain.from_iterable(step.values("refused")):
        refused[source, power] += count
    return [(*key, *total[key]) for key in sorted(total)], refused


def _rates(
    run: StageRun, masses: Sequence[Mass], edges: list[int], phases: Sequence[Phase]
) -> tuple[list[RatePlan], dict[Cell, list[float]]]:
    """One plan for each phase of the curriculum, and by cell the rate of each."""
    section = run.recipe.upsample
    cells = sorted({mass[:2] for mass in masses})
    sizes = dict.fromkeys(cells, (0, 0))
    for source, length, _, n_documents, n_tokens in masses:
        before = sizes[source, length]
        sizes[source, length] = before[0] + n_documents, before[1] + n_tokens
    plans, spent = [], [0.0] * len(cells)
    rates: dict[Cell, list[float]] = {cell: [] for cell in cells}
    for phase in phases:
        long_from = edges.index(phase.long_tokens) + 1
        plan = plan_rates(
            [(cell[0], cell[1] >= long_from, *sizes[cell]) for cell in cells],
            "global" if section.method == "long_short" else section.method,
            long_share=phase.long_share,
            budget=phase.budget,
            max_copies=section.max_copies,
            weights=section.weights,
            spent=spent if len(phases) > 1 else None,
        )
        plans.append(plan)
        spent = [used + rate for used, rate in zip(spent, plan.rates, strict=True)]
        for cell, rate in zip(cells, plan.rates, strict=True):
            rates[cell].append(rate)
    return plans, rates


def length_table(
    masses: Sequence[Mass], rates: Mapping[Cell, list[float]], refused: Mapping[Cell, int]
) -> list[dict[str, Any]]:
    """Documents and tokens by source and length, before and (expected) after; lengths are in (upto / 2, upto].

    ``refused`` are the documents, by source and power of two, that count as short because of what was measured.
    """
    table: dict[Cell, dict[str, Any]] = {}
    for source, length, power, n_documents, n_tokens in masses:
        cell = source, power
        row: dict[str, Any] = {"source": source, "upto": 1 << power, "documents": 0, "refused": refused.get(cell, 0)}
        row = table.setdefault(cell, row | {"before": 0, "after": 0.0})
        row["documents"] += n_documents
        row["before"] += n_tokens
        row["after"] += n_tokens * sum(rates[source, length])
    return [{**row, "after": round(row["after"])} for _, row in sorted(table.items())]


class _Lengths(NamedTuple):
    """The ordered documents of one partition: what decides on their copies."""

    ids: IDs
    n_tokens: NDArray[np.int64]
    sources: NDArray[np.object_]
    length: NDArray[np.int64]
    uniform: NDArray[np.float64]
    held_out: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    """Long, but not long-range: of length class 0."""

    def cells(self) -> Iterator[tuple[str, int, NDArray[np.bool_]]]:
        """(source, length class, which documents) of each cell that has training documents."""
        for source in sorted(set(self.sources)):
            of_source = (self.sources == source) & ~self.held_out
            for length in np.unique(self.length[of_source]).tolist():
                yield source, length, of_source & (self.length == length)


@dataclass(frozen=True, slots=True)
class LengthRule:
    """Which documents are long, and which are held out.

    Attributes:
        limits: by signal, the least value of a document that counts as long.
        edges: thresholds of the length classes, in tokens, ascending.
        validation: share of the documents that are held out.
        components: duplicate components, by partition; None where nothing is held out.
    """

    limits: Mapping[str, float]
    edges: tuple[int, ...]
    seed: int
    validation: float
    components: TableRef | None


@dataclass(frozen=True, kw_only=True)
class LengthTask(PartitionTask):
    """A task that looks at the lengths of one partition's documents.

    Attributes:
        target: index of the partition.
    """

    grows_with = "kept"
    receives = ((COMPONENTS, "one"),)

    rule: LengthRule
    target: int

    def lengths(self, context: TaskContext) -> _Lengths:
        """The documents with their lengths, in doc_id order."""
        ids = column(context.read(self.files["order"], ["doc_id"]), "doc_id")
        counted = context.read(self.files["tokens"], ["doc_id", "n_tokens"])
        n_tokens = column(counted, "n_tokens")[rows_of(ids, column(counted, "doc_id"))].astype(np.int64)
        named = context.read(self.documents, ["doc_id", "source"])
        sources = named["source"].take(pa.array(rows_of(ids, column(named, "doc_id")))).to_numpy()
        uniform = unit_interval(document_hash(self.rule.seed, "upsample", ids))
        length = np.searchsorted(self.rule.edges, n_tokens)
        refused = (length > 0) & self._below_limits(context, ids)
        held_out = self._held_out(context, ids)
        return _Lengths(ids, n_tokens, sources, np.where(refused, 0, length), uniform, held_out, refused)

    def _below_limits(self, context: TaskContext, ids: IDs) -> NDArray[np.bool_]:
        """bool[n]: documents with a signal below its limit; one that was not measured is not below."""
        below = np.zeros(len(ids), np.bool_)
        if self.rule.limits:
            measured = context.read(self.files["signals"], ["doc_id", *self.rule.limits])
            rows = rows_of(ids, column(measured, "doc_id"))
            for name, limit in self.rule.limits.items():
                below |= column(measured, name)[rows].astype(np.float64) < limit
        return below

    def _held_out(self, context: TaskContext, ids: IDs) -> NDArray[np.bool_]:
        """bool[n]: documents of the validation set, drawn by hash of their duplicate component."""
        if self.rule.components is None:
            return np.zeros(len(ids), np.bool_)
        rows = read_slices(context, self.rule.components, self.target, _COMPONENT).sort_by("doc_id")
        keepers, first = np.unique(column(rows, "doc_id"), return_index=True)
        key, known = ids.copy(), is_in(ids, keepers)
        key[known] = column(rows, "component")[first][np.searchsorted(keepers, ids[known])]
        return unit_interval(document_hash(self.rule.seed, schemas.VALIDATION, key)) < self.rule.validation


@dataclass(frozen=True, kw_only=True)
class MassesTask(LengthTask):
    """Documents and tokens of one partition by source, length class and power of two."""

    def work(self, context: TaskContext) -> None:
        lengths = self.lengths(context)
        power = np.ceil(np.log2(np.maximum(lengths.n_tokens, 1))).astype(np.int64)
        masses: list[Mass] = []
        for source, length, of_cell in lengths.cells():
            for upto in np.unique(power[of_cell]).tolist():
                some = of_cell & (power == upto)
                masses.append((source, length, upto, int(some.sum()), int(lengths.n_tokens[some].sum())))
        context.value("masses", masses)
        refused = lengths.refused & ~lengths.held_out
        counted = Counter(zip(lengths.sources[refused].tolist(), power[refused].tolist(), strict=True))
        context.value("refused", [[*cell, number] for cell, number in sorted(counted.items())])


@dataclass(frozen=True, kw_only=True)
class HistogramsTask(LengthTask):
    """Tokens of one partition by source, length class and hash."""

    def work(self, context: TaskContext) -> None:
        lengths = self.lengths(context)
        rows = [
            {"source": source, "length": length, "tokens": histogram(lengths.uniform[some], lengths.n_tokens[some])}
            for source, length, some in lengths.cells()
        ]
        context.write("tmp/histograms", pa.Table.from_pylist(rows, schema=_HISTOGRAM))


def _curves(run: StageRun, parts: Sequence[Partition], rule: LengthRule) -> TableFile:
    """The share of each cell's tokens below a hash: only where a rate is no whole number."""
    tasks = [HistogramsTask(**part.fields, target=part.index, rule=rule) for part in parts]
    histograms = run.publish("tmp/histograms", run.step("tmp/histograms", tasks))
    return run.step("tmp/curves", [CurvesTask(name="curves", histograms=histograms.ref)]).files("tmp/curves")[0]


@dataclass(frozen=True, kw_only=True)
class CurvesTask(Task):
    """The share of each cell's tokens below a hash, from all partitions: a few kB for each cell."""

    per = "one"
    grows_with = "fixed"
    opens = "partition"
    bounded = 1

    histograms: TableRef

    def work(self, context: TaskContext) -> None:
        total: dict[Cell, NDArray[np.int64]] = {}
        for file in context.snapshot(self.histograms).files:
            for row in context.read(file).to_pylist():
                cell = row["source"], row["length"]
                total[cell] = total.get(cell, 0) + np.array(row["tokens"], np.int64)
        rows = [{"source": cell[0], "length": cell[1], "share": curve(total[cell])} for cell in sorted(total)]
        context.write("tmp/curves", pa.Table.from_pylist(rows, schema=_CURVE))


@dataclass(frozen=True, kw_only=True)
class CopiesTask(LengthTask):
    """Copies of the documents of one partition, and the phase of the curriculum of each.

    Attributes:
        rates: by cell, the rate in each phase.
        curves: shares of tokens by hash; None where every rate is a whole number.
        is_staged: note the phase of each copy.
    """

    rates: Mapping[Cell, Sequence[float]]
    curves: TableFile | None
    is_staged: bool

    def work(self, context: TaskContext) -> None:
        lengths = self.lengths(context)
        known = {}
        if self.curves is not None:
            rows = context.read(self.curves).to_pylist()
            known = {(row["source"], row["length"]): np.array(row["share"]) for row in rows}
        rate = np.zeros((len(lengths.ids), max((len(values) for values in self.rates.values()), default=1)))
        place, reason = lengths.uniform.copy(), np.full(len(lengths.ids), "", object)
        for source, length, some in lengths.cells():
            rate[some] = self.rates[source, length]
            reason[some] = f"{source}.{_length_name(length, self.rule.edges)}"
            reason[some & lengths.refused] = f"{source}.not_long_range"
            if (source, length) in known:
                place[some] = places(place[some], known[source, length])
        held_out = lengths.held_out
        rate[held_out, 0], place[held_out], reason[held_out] = 1.0, 0.0, schemas.VALIDATION
        phases, offsets = stages_of_copies(place, rate)
        lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(phases))
        columns = {
            "doc_id": pa.array(lengths.ids),
            "copies": pa.array(np.diff(offsets).astype(np.uint16)),
            "reason": pa.array(reason, pa.string()),
            "stages": lists if self.is_staged else pa.nulls(len(lengths.ids), lists.type),
        }
        copies = pa.table(columns, schema=schemas.COPIES)
        context.write("copies", copies)
        context.count_rows("copies", copies, lengths.n_tokens)
        context.count("not_long_range", int((lengths.refused & ~held_out).sum()))


def _length_name(length: int, edges: Sequence[int]) -> str:
    if len(edges) == 1:
        return "long" if length else "short"
    return f"over_{edges[length - 1]}" if length else "short"


def _duplicate_components(run: StageRun, documents: Snapshot) -> Snapshot:
    """The duplicate component of every keeper, sent to its partition."""
    duplicates = run.tables["duplicates"]
    # A few tasks, not one for each partition: each writes a slice for every partition.
    number = max(1, -(-duplicates.rows // TASK_ROWS))
    bundles = [[duplicates.files[i] for i in some] for some in np.array_split(np.arange(len(duplicates.files)), number)]
    tasks = [
        ComponentsTask(name=f"components-{i:05d}", duplicates=tuple(files), documents=documents.ref)
        for i, files in enumerate(bundles)
    ]
    return run.publish(COMPONENTS, run.step(COMPONENTS.table, tasks))


@dataclass(frozen=True, kw_only=True)
class ComponentsTask(Task):
    """(keeper, component) of some partitions' duplicates; keepers of earlier generations are decided already."""

    per = "one"  # for about TASK_ROWS duplicates
    grows_with = "documents"
    sends = (COMPONENTS,)

    duplicates: tuple[TableFile, ...]
    documents: TableRef

    def work(self, context: TaskContext) -> None:
        table = context.read_all(self.duplicates, schemas.DUPLICATES, ["keeper", "component"])
        files = context.snapshot(self.documents).files
        first = min((file.first for file in files if file.first is not None), default=0)
        keeper, component = column(table, "keeper"), column(table, "component")
        _, rows = np.unique(keeper, return_index=True)
        rows = rows[keeper[rows] >= np.uint64(first)]
        sent = pa.table({"doc_id": pa.array(keeper[rows]), "component": pa.array(component[rows])}, schema=_COMPONENT)
        send_to_partitions(context, COMPONENTS, sent, self.documents)


_READS = ("documents", "signals", "tokens", "duplicates", "order")
UPSAMPLE = Stage("upsample", 1, _READS, ("copies",), _settings, _upsample, by_generation=True)
