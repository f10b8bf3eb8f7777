"""The dedup stage, first part, in one read of the texts as edited: overlap with evaluation sets, and of the documents
left the content hash and MinHash signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, binary_column
from curate.base.errors import RequestError, WorkspaceError
from curate.dedup.contamination import Matches, NgramIndex, check_index, find_matches, ngram_index
from curate.dedup.minhash import MinHashParams, params_of, sign
from curate.engine.context import TaskContext
from curate.engine.losses import by_counters, losses_of
from curate.engine.opening import open_url
from curate.engine.reuse import Files, PreviousFiles, Rows, read_edits, reusable, rows_key, rows_of_partition
from curate.engine.stage import Fit, Stage, StageRun
from curate.engine.task import PLACE, PREVIOUS, PartitionTask, Task
from curate.reading.formats import format_of
from curate.reading.formats import read as read_records
from curate.reading.records import Fields
from curate.recipe import Decontaminate, Dedup, Near, Recipe
from curate.storage.local import file_checksum
from curate.tables.losses import Loss
from curate.tables.parquet import damaged, reraise_as_damaged
from curate.tables.remaining import edited_texts, left_after
from curate.tables.snapshot import Snapshot, TableFile, artefact_path, read_artefact

PERMUTATION_SEED = 1
"""datasketch's default seed, so that signatures can be compared with those made elsewhere."""


_OFF = Dedup(exact=False, near="off", semantic="off")


def dedup_section(recipe: Recipe) -> Dedup:
    """The dedup section; one in which everything is off where it is off."""
    return _OFF if recipe.dedup == "off" else recipe.dedup


def removes_near(recipe: Recipe) -> bool:
    """Whether near duplicates are looked for."""
    return dedup_section(recipe).near != "off"


def minhash_params(recipe: Recipe) -> MinHashParams:
    """Parameters of the signatures; the defaults where near deduplication is off (the content hash is still needed)."""
    section = dedup_section(recipe)
    near = Near() if section.near == "off" else section.near
    bands, rows = near.bands_and_rows
    return MinHashParams(ngram=near.ngram, bands=bands, rows=rows, seed=PERMUTATION_SEED)


def stored_params(signatures: Snapshot) -> MinHashParams:
    """The parameters that a table of signatures was made with.

    Raises:
        WorkspaceError: there can be none such.
    """
    try:
        return params_of(signatures.details)
    except ValueError as error:
        raise damaged(signatures.path, error) from None


def check_signatures(signatures: Snapshot, params: MinHashParams) -> None:
    """Refuse signatures that cannot be compared with those of ``params``.

    Raises:
        WorkspaceError: they were made with other parameters.
    """
    found = stored_params(signatures)
    if found != params:
        raise WorkspaceError(
            f"{signatures.path} holds signatures of {found.bands} bands x {found.rows} rows over {found.ngram}-grams "
            f"(seed {found.seed}); they cannot be compared with {params.bands} x {params.rows} over {params.ngram}-grams "
            f"(seed {params.seed}); run the recipe in a new workspace"
        )


@dataclass(frozen=True, kw_only=True)
class EmptyTask(Task):
    """Empty files of the tables that a part of the stage writes, where that part is off."""

    grows_with = "documents"

    tables: tuple[str, ...]

    def work(self, context: TaskContext) -> None:
        for table in self.tables:
            context.write(table, pa.Table.from_pylist([], schemas.table_schema(table, {})))


def commit_empty(run: StageRun, *tables: str) -> None:
    """Commit ``tables`` without rows."""
    step = run.step(tables[-1], [EmptyTask(name=file.name, tables=tables) for file in run.tables["documents"].files])
    for table in tables:
        run.commit(table, step.files(table))


def _signatures(run: StageRun) -> None:
    params, section = minhash_params(run.recipe), dedup_section(run.recipe).decontaminate
    details: dict[str, Any] = {"minhash": asdict(params)}
    evaluation = None
    if section is not None:
        evaluation = EvaluationUse(index=run.model, ngram=section.ngram, remove=section.action == "remove")
        details["evaluation"] = asdict(run.model)
    previous = PreviousFiles(run, ["verdicts", "edits"])
    tasks = [
        SignaturesTask(
            **part.fields, minhash=params, evaluation=evaluation, previous=previous.of(part), memory=part.memory(4)
        )
        for part in run.partitions("verdicts", "edits")
    ]
    step = run.step("signatures", tasks)
    counters = {name: count for name, count in step.counters.items() if not name.startswith("contaminated")}
    overlaps = {name: count for name, count in step.counters.items() if name.startswith("contaminated")}
    if evaluation is not None:
        with reraise_as_damaged(f"{run.storage.url}/{run.model.path}"):
            loaded = load_evaluation(artefact_path(run.storage, run.model))
        overlaps |= {"evaluation.items": len(loaded.sets), "evaluation.items_too_short": loaded.too_short}
    key = rows_key(run)
    losses: tuple[Loss, ...] = ()
    if section is not None and section.action == "remove":
        parts = by_counters(step, "documents", "contaminated.documents")
        losses = losses_of(run, "dedup.decontaminate", parts)
    run.commit("contamination", step.files("contamination"), overlaps, rows_key=key, losses=losses)
    run.commit("signatures", step.files("signatures"), counters, details, key)


def _fit(run: StageRun) -> Fit | None:
    section = dedup_section(run.recipe).decontaminate
    if section is None:
        return None
    files = evaluation_files(section)
    task = EvaluationTask(name="evaluation", files=tuple(files), ngram=section.ngram)
    return Fit("evaluation", [_marks(files), section.ngram], lambda: task)


@dataclass(frozen=True, slots=True)
class EvaluationFile:
    """An evaluation set: its name, its file and the checksum of that, and the field that holds an item."""

    name: str
    path: str = field(metadata=PLACE)
    text_field: str
    checksum: str


def evaluation_files(section: Decontaminate) -> list[EvaluationFile]:
    """The evaluation sets of a recipe, by name.

    Raises:
        RequestError: a file does not exist.
    """
    files = []
    for name, entry in sorted(section.sets.items()):
        if not Path(entry.path).is_file():
            raise RequestError(f"dedup.decontaminate.sets.{name}: {entry.path} does not exist; name a local file")
        format_of(entry.path)
        files.append(EvaluationFile(name, entry.path, entry.text_field, file_checksum(Path(entry.path))))
    return files


def _marks(files: list[EvaluationFile]) -> list[list[str]]:
    """What the n-grams of evaluation sets depend on."""
    return [[file.name, file.text_field, file.checksum] for file in files]


@dataclass(frozen=True, kw_only=True)
class EvaluationTask(Task):
    """The n-grams of all evaluation items, in one process: evaluation sets are small."""

    per = "one"
    grows_with = "fixed"
    kernels = ("curate.dedup.contamination:compile_kernels",)

    files: tuple[EvaluationFile, ...]
    ngram: int

    def work(self, context: TaskContext) -> None:
        texts, names, numbers = [], [], []
        for file in self.files:
            with open_url(file.path, context.storage.options) as opened:
                for batch in read_records(opened, file.path, Fields(file.text_field, None)):
                    texts.append(batch.texts)
                    names += [file.name] * len(batch.texts)
                    numbers += batch.positions.tolist()
            if file.name not in names:
                raise ValueError(
                    f"dedup.decontaminate.sets.{file.name}: no record of {file.path} has a text in the field {file.text_field!r}"
                )
        index, short = ngram_index(pa.concat_arrays(texts).cast(pa.large_string()), self.ngram)
        with context.new_file("artefacts", "evaluation", ".bin", len(names)) as local, local.open("wb") as out:
            # One array after the other: the archives that numpy writes hold the time.
            for part in (index.keys, index.items, np.array(names), np.array(numbers, np.int64), np.array([short])):
                np.save(out, part, allow_pickle=False)


class Evaluation(NamedTuple):
    """The n-grams of evaluation items, and by item its set and its place in the file."""

    ngrams: NgramIndex
    sets: NDArray[np.str_]
    numbers: NDArray[np.int64]
    too_short: int
    """Items with fewer words than an n-gram, which nothing can match."""


def load_evaluation(path: Path) -> Evaluation:
    """What :class:`EvaluationTask` has stored.

    Raises:
        ValueError: the arrays do not fit each other.
    """
    with path.open("rb") as file:
        keys, items, sets, numbers, short = (np.load(file, allow_pickle=False) for _ in range(5))
    index = NgramIndex(keys, items)
    check_index(index, len(sets))
    if numbers.dtype != np.int64 or numbers.shape != sets.shape or short.shape != (1,):
        raise ValueError(f"{sets.shape} names of sets, {numbers.shape} numbers of items")
    return Evaluation(index, sets, numbers, int(short[0]))


@dataclass(frozen=True, kw_only=True)
class EvaluationUse:
    """How documents are compared with evaluation sets: the index, words of an n-gram, whether whole documents leave."""

    index: TableFile
    ngram: int
    remove: bool


@dataclass(frozen=True, kw_only=True)
class EditedTask(PartitionTask):
    """A task that makes rows of texts as edited; those of an earlier run that hold are copied."""

    previous: Files | None = field(default=None, metadata=PREVIOUS)

    def rows(
        self,
        context: TaskContext,
        tables: Sequence[str],
        keep: IDs,
        known: Callable[[Files], IDs],
        make: Callable[[IDs, pa.LargeStringArray], Rows],
    ) -> Iterator[Rows]:
        """The rows of ``tables`` of the documents in ``keep`` (sorted), some of them at a time.

        Args:
            context: of the task.
            tables: that are made of the texts.
            keep: whose rows.
            known: (previous files) → the documents of which the earlier run made rows, sorted.
            make: (doc_ids, texts) → their rows.
        """

        edits = self.files["edits"]

        def texts(ids: IDs) -> Iterator[tuple[IDs, pa.LargeStringArray]]:
            return edited_texts(context, self.documents, read_edits(context, edits), ids, edits)

        old = reusable(context, self.previous, tables, known, read_edits, edits=edits)
        return rows_of_partition(context, self.documents, keep, old, texts, make)


@dataclass(frozen=True, kw_only=True)
class SignaturesTask(EditedTask):
    """Contamination and signatures of the documents of a partition that no rule removed, as edited."""

    grows_with = "text_bytes"
    kernels = (
        "curate.dedup.resolve:compile_kernels",
        "curate.dedup.contamination:compile_kernels",
        "curate.base.text:compile_kernels",
    )

    minhash: MinHashParams
    evaluation: EvaluationUse | None

    def work(self, context: TaskContext) -> None:
        evaluation = self.evaluation
        known = None if evaluation is None else read_artefact(context.storage, evaluation.index, load_evaluation)

        def make(ids: IDs, texts: pa.LargeStringArray) -> Rows:
            spans = schemas.CONTAMINATION.empty_table()
            if evaluation is not None and known is not None:
                matches = find_matches(texts, known.ngrams, evaluation.ngram)
                spans = _spans(matches, ids, known, evaluation.remove)
                if evaluation.remove:
                    left = np.ones(len(ids), np.bool_)
                    left[np.unique(matches.row)] = False
                    ids, texts = ids[left], texts.filter(pa.array(left))
            signed = sign(texts, self.minhash)
            columns = {
                "doc_id": pa.array(ids),
                "content_hash": binary_column(signed.content_hash),
                "signature": binary_column(signed.signature),
            }
            return {"contamination": spans, "signatures": pa.table(columns)}

        tables = ["contamination", "signatures"]
        keep = left_after("quality", context, self.files)
        with (
            context.writer("contamination", schemas.CONTAMINATION) as spans,
            context.writer("signatures", schemas.signatures_schema(self.minhash.num_perm)) as signatures,
        ):
            for rows in self.rows(context, tables, keep, lambda files: left_after("quality", context, files), make):
                spans.write(rows["contamination"])
                signatures.write(rows["signatures"])
                context.count_rows("signatures", rows["signatures"])
                if known is not None:
                    _count_overlaps(context, rows["contamination"])


def _count_overlaps(context: TaskContext, spans: pa.Table) -> None:
    context.count("contaminated.documents", len(spans["doc_id"].unique()))
    pairs = spans.select(["doc_id", "set", "item"]).group_by(["doc_id", "set", "item"], use_threads=False).aggregate([])
    context.count_values("contaminated.overlaps.", pairs["set"])


def _spans(matches: Matches, ids: IDs, known: Evaluation, removed: bool) -> pa.Table:
    columns = {
        "doc_id": pa.array(ids[matches.row]),
        "start": pa.array(matches.start),
        "end": pa.array(matches.end),
        "set": pa.array(known.sets[matches.item].tolist(), pa.string()),
        "item": pa.array(known.numbers[matches.item]),
        "removed": pa.array(np.full(len(matches.row), removed)),
    }
    return pa.table(columns, schema=schemas.CONTAMINATION)


def _signature_settings(recipe: Recipe) -> Any:
    section = dedup_section(recipe).decontaminate
    evaluation = None if section is None else [_marks(evaluation_files(section)), section.ngram, section.action]
    return {"minhash": asdict(minhash_params(recipe)), "evaluation": evaluation}


_READS, _WRITES = ("documents", "edits", "verdicts"), ("contamination", "signatures")
SIGNATURES = Stage("dedup", 1, _READS, _WRITES, _signature_settings, _signatures, fits=_fit)
