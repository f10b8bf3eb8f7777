"""The pack stage: windows are planned region by region and pass by pass, then shuffled together by hash.

Copy *c* of a document is in pass *c*, so no window holds two copies. The window's place is a hash of (seed, region,
pass, index): neighbouring windows of the plan do not stay neighbours, so a batch is diverse. A takedown leaves every
window in its place: pieces of documents that leave become padding that is not trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import catalog, schemas
from curate.base.columns import column, is_in, rows_of
from curate.base.ids import is_synthetic, source_id
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, TargetTask, each_target, hash_targets, send
from curate.engine.removed import Takedown
from curate.engine.stage import Stage, StageRun, Step
from curate.engine.takedown import TakedownTask, lessened, replaced
from curate.engine.task import Exchange, PartitionTask, Task
from curate.packing.measures import Control, summarise, window_measures
from curate.packing.plan import sets_of_copies
from curate.recipe import Recipe
from curate.stages.pack.plan import ITEMS, PIECE, PlanTask, WindowSet, item_schema
from curate.stages.shards.routing import shard_places
from curate.stages.synthetic import sets_of, synthetic_set, synthetic_sidecar
from curate.tables.snapshot import Snapshot, TableFile, artefact_path, as_file
from curate.tokens.encoder import load, require_bos, require_separator

PIECES = Exchange("pieces", "pieces to shards", to="shard")

_PER_DOCUMENT = ("tokens", "clusters", "embeddings", "order", "copies")

Sets = list[dict[str, Any]]
"""The sets as the details of ``windows`` list them."""


def max_similarity(recipe: Recipe) -> float:
    """No two documents at least this similar share a window of related documents."""
    return recipe.pack.max_similarity or recipe.order.max_similarity


def _settings(recipe: Recipe) -> Any:
    return {
        **recipe.pack.model_dump(),
        "max_similarity": max_similarity(recipe),
        "windows_per_shard": recipe.shards.windows_per_shard,
        "validation": recipe.shards.validation is not None,
        "seed": recipe.seed,
    }


def _pack(run: StageRun) -> None:
    section, sets = run.recipe.pack, sets_of(run.recipe)
    bos_id, separator = _control_ids(run)
    control = Control(int(bos_id is not None), int(bool(section.eos)), len(separator))
    plans = _plan(run, _send_items(run, sets), sets, control)
    counters = Counter(plans.counters)  # without a single window, every count is 0
    _describe(sets, plans, _first_shards(run), run.recipe.shards.windows_per_shard)
    windows = _shuffle(run, sets, plans)
    similarities = [record.values["similarity"] for record in plans.records if "similarity" in record.values]
    details = {
        "window": max(entry["window"] for entry in sets),
        "method": section.method,
        "eos": bool(section.eos),
        **({} if bos_id is None else {"bos_id": bos_id}),
        **({"separator_ids": separator} if separator else {}),
        "sets": sets,
        "measures": _over_sets(sets, counters) | summarise(similarities),
    }
    run.commit("windows", windows.files("windows"), counters, details)


def _send_items(run: StageRun, sets: Sets) -> Snapshot:
    """Documents and examples, sent to their regions."""
    regions, dim = int(run.tables["clusters"].details["regions"]), int(run.tables["embeddings"].details["dim"])
    validation, examples = len(sets) - 1, synthetic_set(sets)["set"]
    tasks = [
        ItemsTask(**part.fields, regions=regions, dim=dim, validation=validation, synthetic_set=examples)
        for part in run.partitions(*_PER_DOCUMENT, *synthetic_sidecar(run.recipe))
    ]
    return run.publish(ITEMS, run.step(ITEMS.table, tasks))


def _plan(run: StageRun, items: Snapshot, sets: Sets, control: Control) -> Step:
    """The windows of every region."""
    neighbors, regions = run.tables["neighbors"].named(), int(run.tables["clusters"].details["regions"])
    tasks = [
        PlanTask(
            **fields,
            dim=int(run.tables["embeddings"].details["dim"]),
            neighbors=neighbors[fields["name"]],
            sets=tuple(WindowSet(entry["kind"], entry["window"]) for entry in sets),
            section=run.recipe.pack,
            control=control,
            max_similarity=max_similarity(run.recipe),
            seed=run.recipe.seed,
        )
        for fields in each_target(items, regions, "region-{:07d}")
    ]
    return run.step("tmp/plans", tasks)


def _describe(sets: Sets, plans: Step, first_shards: Mapping[int, int], windows_per_shard: int) -> None:
    """Add to each set its shards, counts and measures."""
    by_set: dict[int, Counter[str]] = {entry["set"]: Counter() for entry in sets}
    for counted in plans.values("sets"):
        for number, counts in counted:
            by_set[number].update(counts)
    for entry in sets:
        counts = by_set[entry["set"]]
        entry["first"] = first_shards.get(entry["set"], 0)
        entry["shards"] = -(-counts["windows"] // windows_per_shard)
        entry |= {name: counts[name] for name in ("windows", "tokens", "special_tokens", "padding")}
        entry["measures"] = window_measures(counts, entry["window"])
    if not any(entry["shards"] for entry in sets):
        sets[0]["shards"] = 1


def _shuffle(run: StageRun, sets: Sets, plans: Step) -> Step:
    """The windows of all regions by shard, in the order of their keys."""
    shards = tuple(entry["shards"] for entry in sets)
    tasks = [PiecesTask(name=file.name, plan=file, shards=shards) for file in plans.files("tmp/plans")]
    pieces = run.publish(PIECES, run.step(PIECES.table, tasks)).ref
    windows = [
        WindowsTask(name=place.name, maps=pieces, target=place.target, shard=place.shard)
        for place in shard_places(sets)
    ]
    return run.step("windows", windows)


def _control_ids(run: StageRun) -> tuple[int | None, list[int]]:
    """(token that documents begin with, tokens that stand between them) by the run's tokenizer; nothing unless asked."""
    section = run.recipe.pack
    if section.bos is False and section.separator is None:
        return None, []
    file = as_file(run.tables["tokens"].details["tokenizer"])
    encoder = load(str(artefact_path(run.storage, file)))
    return require_bos(encoder, section.bos, file.path), require_separator(encoder, section.separator, file.path)


def _over_sets(sets: Sequence[dict[str, Any]], counters: Counter[str]) -> dict[str, float]:
    """Measures of all sets together; those that depend on one window size are left to the sets."""
    if len(sets) == 1:
        return dict(sets[0]["measures"])
    places = sum(entry["windows"] * entry["window"] for entry in sets)
    padding = round(counters["padding"] / places, 4) if places else 0.0
    return {"padding": padding, "documents_per_window": round(counters["pieces"] / max(counters["windows"], 1), 4)}


@dataclass(frozen=True, kw_only=True)
class ItemsTask(PartitionTask):
    """Position, length, vector and the sets of the copies of a partition's documents, sent to their regions.

    A synthetic example goes where its source does, as a document with the source's position and vector.

    Attributes:
        regions: their number.
        dim: bytes of a vector.
        validation: number of the validation set.
        synthetic_set: number of the set that examples are in.
    """

    grows_with = "kept"
    sends = (ITEMS,)

    regions: int
    dim: int
    validation: int
    synthetic_set: int

    def work(self, context: TaskContext) -> None:
        files = self.files
        ordered = context.read(files["order"], ["doc_id", "position"])
        ids = column(ordered, "doc_id")
        counted = context.read(files["tokens"], ["doc_id", "n_tokens"])
        rows = pa.array(rows_of(ids, column(counted, "doc_id")))
        region = column(context.read(files["clusters"], ["region"]).take(rows), "region")
        n_tokens, sets = counted["n_tokens"].take(rows), sets_of_copies(context.read(files["copies"]), self.validation)
        vectors = context.read(files["embeddings"], ["vector"])["vector"].take(rows)
        schema = item_schema(self.dim)
        items = pa.table([*ordered.columns, n_tokens, sets, vectors], schema=schema)
        writer = ExchangeWriter(context, ITEMS, schema, self.regions)
        writer.write(items, region)
        if "synthetic" in files:
            examples = context.read(files["synthetic"], ["doc_id", "source_id", "n_tokens"])
            source = pa.array(rows_of(column(examples, "source_id"), ids))
            own = {"doc_id": examples["doc_id"], "n_tokens": examples["n_tokens"]}
            own["sets"] = pa.array([[self.synthetic_set]] * examples.num_rows, pa.list_(pa.uint16()))
            of_source = {name: items[name].take(source) for name in ("position", "vector")}
            writer.write(pa.table(own | of_source), region[source])
        writer.finish()


@dataclass(frozen=True, kw_only=True)
class PiecesTask(Task):
    """The pieces of one region's windows, sent to their shards, of which each set has a number of its own."""

    per = "region"
    grows_with = "kept"
    sends = (PIECES,)

    plan: TableFile
    shards: tuple[int, ...]

    def work(self, context: TaskContext) -> None:
        plan = context.read(self.plan)
        sets, keys = column(plan, "set"), column(plan, "key")
        targets = np.zeros(len(keys), np.int64)
        for number, first in enumerate(np.cumsum([0, *self.shards[:-1]])):
            of_set = sets == number
            targets[of_set] = first + hash_targets(keys[of_set], self.shards[number])
        send(context, PIECES, PIECE, sum(self.shards), plan, targets)


@dataclass(frozen=True, kw_only=True)
class WindowsTask(TargetTask):
    """The windows of one shard, numbered in the order of their keys.

    Attributes:
        shard: its number in its set; ``target`` is its place among those of all sets.
    """

    per = "shard"
    grows_with = "tokens"
    receives = ((PIECES, "region"),)

    shard: int

    def work(self, context: TaskContext) -> None:
        window = ("key", "region", "pass", "index")
        rows = self.rows(context, PIECE).sort_by([(name, "ascending") for name in (*window, "piece")])
        begins = np.zeros(rows.num_rows, np.bool_)
        for values in (column(rows, name) for name in window):
            begins[1:] |= values[1:] != values[:-1]
        columns = {
            "set": rows["set"],
            "shard": np.full(len(begins), self.shard, np.uint32),
            "window": np.cumsum(begins).astype(np.uint32),
            **{name: rows[name] for name in ("piece", "kind", "doc_id", "copy", "start", "length")},
        }
        context.write("windows", pa.table(columns, schema=schemas.WINDOWS))


def _first_shards(run: StageRun) -> Counter[int]:
    """Shards of each set in earlier generations."""
    shards: Counter[int] = Counter()
    for entry in chain.from_iterable(tables["windows"].details["sets"] for tables in run.earlier):
        shards[entry["set"]] += entry["shards"]
    return shards


def _takedown(run: StageRun, takedown: Takedown) -> None:
    """Commit the plan with the pieces of the documents that leave, and of examples made of them, named as removed.

    Only shards with such a piece have a new file.
    """
    before = takedown.tables["windows"]
    tasks = [
        WindowsTakedownTask(name=file.name, file=file, leaving=takedown.leaving)
        for file in before.files
        if len(takedown.ids) and (takedown.reaches(file) or _holds_examples(file))
    ]
    step = run.step("windows", tasks)
    lost = {**step.counters, "padding": -step.counters.get("padding", 0)}  # what leaves becomes padding
    run.commit("windows", replaced(before, step), lessened(before.counters, lost), before.details)


def _holds_examples(file: TableFile) -> bool:
    """Whether a shard holds synthetic examples, whose ids say by their bounds nothing about their sources."""
    return file.last is not None and bool(is_synthetic(np.array([file.last], np.uint64))[0])


@dataclass(frozen=True, kw_only=True)
class WindowsTakedownTask(TakedownTask):
    """The plan of one shard without some documents; nothing is written where none of its pieces leaves."""

    per = "shard"
    grows_with = "tokens"

    def work(self, context: TaskContext) -> None:
        table = context.read(self.file)
        kind, doc_id = column(table, "kind"), column(table, "doc_id")
        leaves = is_in(source_id(doc_id), self.ids(context)) & catalog.names_document(kind)
        if not leaves.any():
            return
        leaves |= separators_that_leave(column(table, "window"), kind, leaves)
        length = column(table, "length")
        for name, counted in (
            ("tokens", catalog.holds_text(kind)),
            ("synthetic_tokens", kind == catalog.KIND_SYNTHETIC),
            ("special_tokens", catalog.is_control(kind)),
            ("padding", np.ones(len(kind), np.bool_)),
        ):
            context.count(name, int(length[leaves & counted].sum()))
        mask = pa.array(leaves)
        columns = {name: table[name] for name in table.column_names}
        for name in ("doc_id", "copy", "start"):
            columns[name] = pc.if_else(mask, pa.scalar(0, table.schema.field(name).type), table[name])
        columns["kind"] = pc.if_else(mask, pa.scalar(catalog.KIND_REMOVED, pa.uint8()), table["kind"])
        context.write("windows", pa.table(columns).cast(schemas.WINDOWS))


def separators_that_leave(
    window: NDArray[np.uint32], kind: NDArray[np.uint8], leaves: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """bool[n]: the separators that stand between no two documents any more, when pieces of documents leave.

    What stays is the one right before each document but the first that stays.

    Args:
        window, kind: rows of the ``windows`` table of one shard.
        leaves: bool[n], pieces of documents that leave.
    """
    stays = catalog.names_document(kind) & ~leaves
    before: NDArray[np.int64] = np.cumsum(stays) - stays
    in_window: NDArray[np.int64] = before - before[np.searchsorted(window, window)]
    follows = np.append(stays[1:], False)  # a separator is never a window's last piece
    return np.asarray((kind == catalog.KIND_SEPARATOR) & ~(follows & (in_window > 0)))


_READS = ("documents", *_PER_DOCUMENT, "neighbors", "synthetic")
PACK = Stage("pack", 1, _READS, ("windows",), _settings, _pack, _first_shards, by_generation=True, takedown=_takedown)
