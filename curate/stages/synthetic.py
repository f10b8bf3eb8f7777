"""The synthetic stage: examples of long-range tasks, made of kept documents, up to the wanted share of the tokens.

Steps: the length of every example that could be made, as a histogram by hash of doc_id → the hash below which examples
are drawn → the examples. One document gives one example at most, whose id is the document's with the highest bit set;
they are in the training set with the last window of the schedule, and no longer than it. Documents of the validation
set give none. Without a share the table is empty and has no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.hashing import document_hash, unit_interval
from curate.base.ids import synthetic_id
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.mixing.blocks import Marks, marks
from curate.mixing.quantiles import BINS, curve, histogram
from curate.mixing.synthetic import FILL_IN_TOKENS, Example, Prompts, build, prompt_texts, prompts
from curate.packing.sets import copies_of_items, sets_of_copies, shard_sets
from curate.recipe import Recipe
from curate.tables.artefact import read_artefact
from curate.tables.partition import column, flat_tokens, rows_of
from curate.tables.snapshot import Snapshot
from curate.tokens.encoder import load

_HISTOGRAM = pa.schema([("tokens", pa.list_(pa.int64()))])


def sets_of(recipe: Recipe) -> list[dict[str, Any]]:
    """The sets of windows that the recipe asks for."""
    section, phases = recipe.pack, [phase.window for phase in recipe.pack.schedule]
    return shard_sets(section.method, section.window, phases, with_validation=recipe.shards.validation is not None)


def synthetic_set(sets: list[dict[str, Any]]) -> dict[str, Any]:
    """The training set that examples are in: the last one."""
    return next(entry for entry in reversed(sets) if entry["kind"] != "validation")


def _settings(recipe: Recipe) -> Any:
    if not recipe.synthetic.share:
        return None
    entry = synthetic_set(sets_of(recipe))
    begins = {"bos": True} if recipe.pack.bos else {}
    return {**recipe.synthetic.model_dump(), **entry, "eos": bool(recipe.pack.eos), **begins, "seed": recipe.seed}


def _synthetic(run: StageRun) -> None:
    section = run.recipe.synthetic
    if not section.share:
        run.commit("synthetic", [])
        return
    tokens, sets = run.tables["tokens"], sets_of(run.recipe)
    entry = synthetic_set(sets)
    shared = {
        "tokenizer": tokens.details["tokenizer"],
        "tasks": list(section.tasks),
        "least": section.min_tokens,
        "room": entry["window"] - bool(run.recipe.pack.eos) - bool(run.recipe.pack.bos),
        "seed": run.recipe.seed,
    }
    sidecars = {name: run.tables[name] for name in ("tokens", "copies")}
    documents, extra = run.tables["documents"], [tokens.details["tokenizer_hash"]]
    params = {**shared, "number": entry["set"], "validation": len(sets) - 1}
    step = run.step("tmp/histograms", lengths_task, partition_specs(documents, sidecars, params, extra))
    base, possible = step.counters.get("tokens", 0), step.counters.get("possible", 0)
    wanted = section.share / (1 - section.share) * base
    rate = min(1.0, wanted / possible) if possible else 0.0
    histograms = run.publish("tmp/histograms", step)
    spec = Spec("threshold", [histograms.content, rate], {"histograms": histograms.path, "rate": rate})
    below = run.step("tmp/threshold", threshold_task, [spec]).values("below")[0]
    specs = partition_specs(documents, sidecars, {**shared, "below": below}, [*extra, below])
    made = run.step("synthetic", examples_task, specs)
    reached = made.counters.get("tokens", 0)
    share = round(reached / (base + reached), 4) if reached else 0.0
    if possible < wanted:
        run.progress.say(
            f"synthetic: {share:.2%} of the tokens instead of {section.share:.2%}: the documents of at least "
            f"{section.min_tokens:,} tokens give no more; lower synthetic.min_tokens, or ask for a smaller share"
        )
    details = {
        "vocab_size": tokens.details["vocab_size"],
        "set": entry["set"],
        "report": {
            "share": {"wanted": section.share, "reached": share},
            "tokens": {"of documents": base, "wanted": round(wanted), "possible": possible, "made": reached},
        },
    }
    run.commit("synthetic", made.files("synthetic"), made.counters, details)


def synthetic_sidecar(run: StageRun) -> dict[str, Snapshot]:
    """The table of examples as a side-car of the partitions; nothing where none were asked for."""
    return {"synthetic": run.tables["synthetic"]} if run.recipe.synthetic.share else {}


class _Language(NamedTuple):
    """What the tokenizer says about its ids, and the prompts in them."""

    marks: Marks
    prompts: Prompts
    vocab_size: int


def _load_language(data: bytes, path: Path) -> _Language:
    encoder = load(str(path))
    flat, offsets = encoder.encode(pa.array(prompt_texts(), pa.large_string()))
    texts = [flat[start:stop] for start, stop in pairwise(offsets)]
    named = ([encoder.token_id(name) for name in names] for names in FILL_IN_TOKENS)
    known = ([one for one in ids if one is not None] for ids in named)
    fill_in = next((ids for ids in known if len(ids) == 3), None)
    return _Language(marks(*encoder.vocabulary()), prompts(texts, fill_in), encoder.vocab_size)


def _examples(
    context: TaskContext,
    tokens: Any,
    copies: Any,
    tokenizer: Any,
    tasks: list[str],
    least: int,
    room: int,
    seed: int,
    below: float = 1.0,
) -> Iterator[tuple[NDArray[np.uint64], list[Example]]]:
    """(doc_ids of the sources, their examples) of one partition, a row group of tokens at a time."""
    language = read_artefact(context.storage, tokenizer, _load_language)
    drawn = context.read(copies, ["doc_id", "copies", "reason"])
    trained = pc.and_(pc.greater(drawn["copies"], 0), pc.not_equal(drawn["reason"], schemas.VALIDATION))
    pool = column(drawn.filter(trained), "doc_id")
    pool = pool[unit_interval(document_hash(seed, "synthetic", pool)) < below]
    for batch in context.batches(tokens, None, pool):
        rows = np.flatnonzero(np.isin(column(batch, "doc_id"), pool) & (column(batch, "n_tokens") >= least))
        ids = column(batch, "doc_id")[rows]
        flat, offsets = flat_tokens(batch)
        keys = document_hash(seed, "synthetic.choice", ids).tolist()
        made = [
            build(flat[offsets[row] : offsets[row + 1]], key, tasks, room, language.marks, language.prompts)
            for row, key in zip(rows.tolist(), keys, strict=True)
        ]
        could = np.array([one is not None for one in made], np.bool_)
        yield ids[could], [one for one in made if one is not None]


def lengths_task(
    context: TaskContext, documents: Any, tokens: Any, copies: Any, number: int, validation: int, **settings: Any
) -> None:
    """Tokens of the documents in set ``number``, and of all examples that could be made, by hash."""
    drawn = context.read(copies)
    counted = context.read(tokens, ["doc_id", "n_tokens"])
    lengths = column(counted, "n_tokens")[rows_of(column(drawn, "doc_id"), column(counted, "doc_id"))].astype(np.int64)
    sets, item = copies_of_items(pa.chunked_array([sets_of_copies(drawn, validation)]))
    context.count("tokens", int(lengths[item[sets == number]].sum()))
    total = np.zeros(BINS, np.int64)
    for ids, made in _examples(context, tokens, copies, **settings):
        sizes = np.array([len(one.tokens) for one in made], np.int64)
        total += histogram(unit_interval(document_hash(settings["seed"], "synthetic", ids)), sizes)
    context.count("possible", int(total.sum()))
    context.write("tmp/histograms", pa.Table.from_pylist([{"tokens": total}], schema=_HISTOGRAM))


def threshold_task(context: TaskContext, histograms: str, rate: float) -> None:
    """The hash below which examples hold ``rate`` of the tokens of all that could be made."""
    total = np.zeros(BINS, np.int64)
    for file in context.snapshot(histograms).files:
        total += np.array(context.read(file)["tokens"][0].as_py(), np.int64)
    # the last hash of a share: bins without tokens above it change nothing
    below = float(np.interp(rate, curve(total), np.linspace(0.0, 1.0, BINS + 1))) if rate < 1 else 1.0
    context.value("below", below)


def examples_task(context: TaskContext, documents: Any, tokens: Any, copies: Any, **settings: Any) -> None:
    """The drawn examples of one partition."""
    language = read_artefact(context.storage, settings["tokenizer"], _load_language)
    with context.writer("synthetic", schemas.synthetic_schema(language.vocab_size)) as writer:
        for ids, made in _examples(context, tokens, copies, **settings):
            columns = {
                "doc_id": pa.array(synthetic_id(ids)),
                "task": pa.array([one.task for one in made], pa.string()),
                "source_id": pa.array(ids),
                "token_ids": pa.array([one.tokens for one in made], writer.schema.field("token_ids").type),
                "n_tokens": pa.array([len(one.tokens) for one in made], pa.uint32()),
            }
            spans = {name: [getattr(one, name) for one in made] for name in ("at", "start", "length")}
            columns |= {name: pa.array(lists, pa.list_(pa.uint32())) for name, lists in spans.items()}
            writer.write(pa.table(columns))
            for one in made:
                context.count(f"task.{one.task}")
                context.count("tokens", len(one.tokens))
            context.count("documents", len(made))


SYNTHETIC = Stage(
    "synthetic",
    1,
    ("documents", "tokens", "copies"),
    ("synthetic",),
    _settings,
    _synthetic,
    by_generation=True,
)
