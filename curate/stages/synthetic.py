"""The synthetic stage: examples of long-range tasks, made of kept documents, up to the wanted share of the tokens.

Steps: the length of every example that could be made, as a histogram by hash of doc_id → the hash below which examples
are drawn → the examples. One document gives one example at most, whose id is the document's with the highest bit set;
they are in the training set with the last window of the schedule, and no longer than it. Documents of the validation
set give none. Without a share the table is empty and has no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.base.columns import IDs, column, flat_tokens, is_in, rows_of
from curate.base.hashing import document_hash, unit_interval
from curate.base.ids import synthetic_id
from curate.engine.context import TaskContext
from curate.engine.stage import Stage, StageRun
from curate.engine.task import PartitionTask, Task
from curate.mixing.rates import BINS, curve, histogram
from curate.mixing.synthetic import FILL_IN_TOKENS, Example, Marks, Prompts, build, marks, prompt_texts, prompts
from curate.packing.plan import copies_of_items, sets_of_copies, shard_sets
from curate.recipe import Recipe
from curate.tables.snapshot import TableFile, TableRef, as_file, read_artefact
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
    control = {"bos": bool(recipe.pack.bos), "eos": bool(recipe.pack.eos)}
    return {**recipe.synthetic.model_dump(), **entry, **control, "seed": recipe.seed}


def _synthetic(run: StageRun) -> None:
    section = run.recipe.synthetic
    if not section.share:
        run.commit("synthetic", [])
        return
    tokens, sets = run.tables["tokens"], sets_of(run.recipe)
    entry = synthetic_set(sets)
    room = entry["window"] - bool(run.recipe.pack.eos) - bool(run.recipe.pack.bos)
    tokenizer = as_file(tokens.details["tokenizer"])
    making = Making(tokenizer, section.tasks, section.min_tokens, room, run.recipe.seed)
    parts = run.partitions("tokens", "copies")
    lengths = [
        ExampleLengthsTask(**part.fields, making=making, number=entry["set"], validation=len(sets) - 1)
        for part in parts
    ]
    step = run.step("tmp/histograms", lengths)
    base, possible = step.counters.get("tokens", 0), step.counters.get("possible", 0)
    wanted = section.share / (1 - section.share) * base
    rate = min(1.0, wanted / possible) if possible else 0.0
    threshold = ThresholdTask(name="threshold", histograms=run.publish("tmp/histograms", step).ref, rate=rate)
    below = run.step("tmp/threshold", [threshold]).values("below")[0]
    step = run.step("synthetic", [ExamplesTask(**part.fields, making=making, below=below) for part in parts])
    reached = step.counters.get("tokens", 0)
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
    run.commit("synthetic", step.files("synthetic"), step.counters, details)


def synthetic_sidecar(recipe: Recipe) -> list[str]:
    """The table of examples, a side-car of the partitions; nothing where none were asked for."""
    return ["synthetic"] if recipe.synthetic.share else []


class _Language(NamedTuple):
    """What the tokenizer says about its ids, and the prompts in them."""

    marks: Marks
    prompts: Prompts
    vocab_size: int


def _load_language(path: Path) -> _Language:
    encoder = load(str(path))
    flat, offsets = encoder.encode(pa.array(prompt_texts(), pa.large_string()))
    texts = [flat[start:stop] for start, stop in pairwise(offsets)]
    named = ([encoder.token_id(name) for name in names] for names in FILL_IN_TOKENS)
    known = ([one for one in ids if one is not None] for ids in named)
    fill_in = next((ids for ids in known if len(ids) == 3), None)
    return _Language(marks(*encoder.vocabulary()), prompts(texts, fill_in), encoder.vocab_size)


@dataclass(frozen=True, slots=True)
class Making:
    """How examples are made.

    Attributes:
        tasks: names of the tasks.
        min_tokens: a document of fewer tokens gives no example.
        room: most tokens of an example.
    """

    tokenizer: TableFile
    tasks: tuple[str, ...]
    min_tokens: int
    room: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class ExampleTask(PartitionTask):
    """A task that makes the examples of one partition, whose hash is below ``below``."""

    grows_with = "kept_bytes"
    kernels = ("curate.tokens.pretokens:compile_kernels",)

    making: Making
    below: float = 1.0

    def language(self, context: TaskContext) -> _Language:
        """The run's tokenizer and the prompts."""
        return read_artefact(context.storage, self.making.tokenizer, _load_language)

    def examples(self, context: TaskContext) -> Iterator[tuple[IDs, list[Example]]]:
        """(doc_ids of the sources, their examples), a row group of tokens at a time."""
        language, making = self.language(context), self.making
        drawn = context.read(self.files["copies"], ["doc_id", "copies", "reason"])
        trained = pc.and_(pc.greater(drawn["copies"], 0), pc.not_equal(drawn["reason"], schemas.VALIDATION))
        pool = column(drawn.filter(trained), "doc_id")
        pool = pool[unit_interval(document_hash(making.seed, "synthetic", pool)) < self.below]
        for batch in context.batches(self.files["tokens"], None, pool):
            is_long = column(batch, "n_tokens") >= making.min_tokens
            rows = np.flatnonzero(is_in(column(batch, "doc_id"), pool) & is_long)
            ids = column(batch, "doc_id")[rows]
            flat, offsets = flat_tokens(batch)
            texts = [flat[offsets[row] : offsets[row + 1]] for row in rows.tolist()]
            keys = document_hash(making.seed, "synthetic.choice", ids).tolist()
            examples = [
                build(text, key, making.tasks, making.room, language.marks, language.prompts)
                for text, key in zip(texts, keys, strict=True)
            ]
            could = np.array([example is not None for example in examples], np.bool_)
            yield ids[could], [example for example in examples if example is not None]


@dataclass(frozen=True, kw_only=True)
class ExampleLengthsTask(ExampleTask):
    """Tokens of the documents in set ``number``, and of all examples that could be made, by hash.

    Attributes:
        validation: number of the validation set.
    """

    number: int
    validation: int

    def work(self, context: TaskContext) -> None:
        drawn = context.read(self.files["copies"])
        counted = context.read(self.files["tokens"], ["doc_id", "n_tokens"])
        rows = rows_of(column(drawn, "doc_id"), column(counted, "doc_id"))
        lengths = column(counted, "n_tokens")[rows].astype(np.int64)
        sets, item = copies_of_items(pa.chunked_array([sets_of_copies(drawn, self.validation)]))
        context.count("tokens", int(lengths[item[sets == self.number]].sum()))
        total = np.zeros(BINS, np.int64)
        for ids, examples in self.examples(context):
            sizes = np.array([len(example.tokens) for example in examples], np.int64)
            total += histogram(unit_interval(document_hash(self.making.seed, "synthetic", ids)), sizes)
        context.count("possible", int(total.sum()))
        context.write("tmp/histograms", pa.Table.from_pylist([{"tokens": total}], schema=_HISTOGRAM))


@dataclass(frozen=True, kw_only=True)
class ThresholdTask(Task):
    """The hash below which examples hold ``rate`` of the tokens of all that could be made."""

    per = "one"
    grows_with = "fixed"
    opens = "partition"
    bounded = 1

    histograms: TableRef
    rate: float

    def work(self, context: TaskContext) -> None:
        total = np.zeros(BINS, np.int64)
        for file in context.snapshot(self.histograms).files:
            total += np.array(context.read(file)["tokens"][0].as_py(), np.int64)
        # the last hash of a share: bins without tokens above it change nothing
        bins = np.linspace(0.0, 1.0, BINS + 1)
        context.value("below", float(np.interp(self.rate, curve(total), bins)) if self.rate < 1 else 1.0)


@dataclass(frozen=True, kw_only=True)
class ExamplesTask(ExampleTask):
    """The drawn examples of one partition."""

    def work(self, context: TaskContext) -> None:
        schema = schemas.synthetic_schema(self.language(context).vocab_size)

        def rows(ids: IDs, examples: Sequence[Example]) -> pa.Table:
            texts = [example.tokens for example in examples]
            columns = {
                "doc_id": synthetic_id(ids),
                "task": [example.task for example in examples],
                "source_id": ids,
                "token_ids": texts,
                "n_tokens": [len(text) for text in texts],
                **{name: [getattr(example, name) for example in examples] for name in ("at", "start", "length")},
            }
            return pa.table(columns, schema=schema)

        context.write_parts("synthetic", schema, (rows(*made) for made in self.examples(context)))


SYNTHETIC = Stage(
    "synthetic", 1, ("documents", "tokens", "copies"), ("synthetic",), _settings, _synthetic, by_generation=True
)
