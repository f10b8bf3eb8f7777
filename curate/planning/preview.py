"""What the rules would remove, from the beginnings of some files, before anything is run.

The stages that read and judge are run as they are, in a folder that is deleted afterwards, on the heads of the files
(:mod:`curate.engine.heads`). What depends on the corpus as a whole is not estimated.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.base.columns import column
from curate.base.hashing import document_hash, text_hashes
from curate.base.ids import ordinal_of
from curate.driver.alarms import judge
from curate.driver.plan import Pass, run_stage, stage_keys, stages
from curate.engine.context import TaskContext
from curate.engine.engines import InlineEngine
from curate.engine.heads import chosen, files_each, read_heads
from curate.engine.inputs import Inputs, ReadOptions, discover, storage_options
from curate.engine.losses import by_counters, losses_of
from curate.engine.progress import Progress
from curate.engine.stage import Stage, StageRun
from curate.engine.task import Task
from curate.reading.records import Fields, snippet
from curate.reading.units import InputFile, Unit
from curate.recipe import Recipe
from curate.stages.ingest import documents_of, rejects_of
from curate.storage.open import open_storage
from curate.tables.parquet import read_rows

EXAMPLES = 2
"""Documents of a source that are shown for a reason."""

_BEGIN_CHARS = 400


@dataclass(frozen=True, slots=True)
class _Looked:
    """The files of an input that are looked at, of how many, and how they are read."""

    files: list[InputFile]
    of: int
    options: ReadOptions


def preview(recipe: Recipe, found: Inputs | None = None) -> dict[str, Any]:
    """What the rules of a recipe would remove of the heads of its inputs, as a JSON-able dict. Nothing stays.

    Args:
        recipe: with resolved paths.
        found: its inputs, where they are known.

    Returns:
        sources: {source, files, looked, documents, rejects by reason, copies, begun, languages, removed}, one for each;
        rules: {source, reason, removed, languages, examples}, one for each source and reason, the most frequent first;
        alarms: those that the run would raise if everything were as in the sample.

    Raises:
        RequestError: the run would be refused, for the same reason.
    """
    found = found or discover(recipe)
    looked = _looked(recipe, found)
    units = [
        Unit(number, source, tuple(file for one in looked[source] for file in one.files))
        for number, source in enumerate(looked)
    ]
    with tempfile.TemporaryDirectory(prefix="curate-preview-") as folder:
        recipe = recipe.model_copy(update={"workspace": folder, "sample": None, "engine": "inline"})
        read = Stage("ingest", 1, (), ("rejects", "documents"), lambda _: None, lambda run: _read(run, looked))
        plan = [read, *(stage for stage in stages() if stage.name == "quality")]
        storage, keys = open_storage(folder, storage_options(recipe)), stage_keys(recipe, plan)
        inputs = Inputs([], {}, units)
        walk = Pass(recipe, storage, InlineEngine(), keys, Progress(), inputs, tuple, lambda: None)
        for stage in plan:
            runs = walk.runs(stage)
            run_stage(runs)
            walk.share(stage, runs)
        return _told(walk, looked)


def _looked(recipe: Recipe, found: Inputs) -> dict[str, list[_Looked]]:
    """The files that are looked at, by source and input."""
    most = files_each(len(recipe.inputs))
    files: dict[int, list[InputFile]] = {}
    for file in found.files:
        files.setdefault(id(found.entries[file.source, file.url]), []).append(file)
    looked: dict[str, list[_Looked]] = {source: [] for source in recipe.sources}
    for entry in {id(entry): entry for entry in found.entries.values()}.values():
        own = list({file.url: file for file in files[id(entry)]}.values())
        looked[entry.source].append(_Looked(chosen(own, most), len(own), ReadOptions.of(entry)))
    return looked


def _read(run: StageRun, looked: dict[str, list[_Looked]]) -> None:
    """What the stage ingest commits, from heads."""
    tasks = [
        HeadsTask(name=f"unit-{number:07d}", ordinal=number, source=source, inputs=tuple(looked[source]))
        for number, source in enumerate(looked)
    ]
    step = run.step("rejects", tasks)
    run.commit("rejects", step.files("rejects"), step.counters)
    losses = losses_of(run, "ingest", by_counters(step, "documents", "rejects."))
    details = {"begun": dict(zip(looked, step.values("begun"), strict=True))}
    run.commit("documents", step.files("documents"), step.counters, details, losses=losses)


@dataclass(frozen=True, kw_only=True)
class HeadsTask(Task):
    """Documents and rejects of the heads of a source's files, as one partition.

    Attributes:
        ordinal: of the unit that stands for the source.
        source: its name.
        inputs: its files, by input.
    """

    grows_with = "fixed"

    ordinal: int
    source: str
    inputs: tuple[_Looked, ...]

    def work(self, context: TaskContext) -> None:
        base = begun = 0
        name, schema = f"part-{self.ordinal:07d}-00000", schemas.documents_schema()
        with context.writer("rejects", schemas.REJECTS) as rejects, context.writer("documents", schema, name) as writer:
            for one in self.inputs:
                fields = Fields(one.options.text_field, one.options.id_field)
                for head in read_heads(one.files, fields, context.storage.options, one.options.limit):
                    for batch in head.batches:
                        documents = documents_of(batch, self.ordinal, base, self.source, head.file.path, None)
                        refused = rejects_of(batch, self.ordinal, base, self.source, head.file.path)
                        writer.write(documents)
                        rejects.write(refused)
                        context.count_rows("documents", documents)
                        context.count("rejects", refused.num_rows)
                        context.count_values("rejects.", refused["reason"])
                    base += head.records
                    begun += not head.is_whole
        context.value("begun", begun)


def _told(walk: Pass, looked: dict[str, list[_Looked]]) -> dict[str, Any]:
    """What the tables of a preview say."""
    tables, names = walk.tables, list(looked)
    sources, rules = [], []
    rejected = {loss.source: dict(loss.removed) for loss in tables["documents"].losses}
    for file in tables["documents"].files:
        source = names[ordinal_of(file.name)]
        documents, verdicts, signals = (
            read_rows(walk.storage, tables[name].named()[file.name].path)
            for name in ("documents", "verdicts", "signals")
        )
        known = "language" in signals.column_names
        languages = signals["language"] if known else pa.chunked_array([pa.nulls(len(signals), pa.string())])
        removed = verdicts["removed_by"]
        sources.append(
            {
                "source": source,
                "files": sum(one.of for one in looked[source]),
                "looked": sum(len(one.files) for one in looked[source]),
                "begun": tables["documents"].details["begun"][source],
                "documents": documents.num_rows,
                "rejects": rejected.get(source, {}),
                "copies": documents.num_rows - len(set(text_hashes(documents["text"]))),
                "languages": _counts(languages),
                "removed": documents.num_rows - removed.null_count,
            }
        )
        for reason, number in _counts(removed).items():
            mask = pc.equal(removed, reason)
            shown = {name: table.filter(mask) for name, table in (("documents", documents), ("verdicts", verdicts))}
            rules.append(
                {
                    "source": source,
                    "reason": reason,
                    "removed": number,
                    "languages": _counts(languages.filter(mask)),
                    "examples": _examples(shown["documents"], shown["verdicts"], walk.recipe.seed),
                }
            )
    losses = [loss for name in ("documents", "verdicts") for loss in tables[name].losses]
    return {"sources": sources, "rules": rules, "alarms": [one.as_dict() for one in judge(losses, walk.recipe)]}


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, the most frequent first; nulls are left out."""
    found = Counter({one["values"]: one["counts"] for one in values.drop_null().value_counts().to_pylist()})
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _examples(documents: pa.Table, verdicts: pa.Table, seed: int) -> list[dict[str, Any]]:
    """Some of the documents, by hash: id, measured value, and how the text begins."""
    ids = column(documents, "doc_id")
    rows = np.lexsort((ids, document_hash(seed, "look", ids)))[:EXAMPLES]
    begins = pc.utf8_slice_codeunits(documents["text"].take(pa.array(rows)), 0, _BEGIN_CHARS).to_pylist()
    named, values = documents["id"].take(pa.array(rows)).to_pylist(), verdicts["value"].take(pa.array(rows)).to_pylist()
    return [
        {"id": name, "value": value, "begins": snippet(" ".join(text.split()))}
        for name, value, text in zip(named, values, begins, strict=True)
    ]
