"""The model of the embed stage: fitted on a sample of the texts, or the mean of a sample of vectors.

Both samples are evened out over strata (:mod:`curate.engine.strata`).
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base.columns import binary_column, bytes_matrix, column
from curate.base.errors import RunError
from curate.base.hashing import document_hash
from curate.engine.context import TaskContext
from curate.engine.sample import sample_size
from curate.engine.stage import Fit, StageRun
from curate.engine.strata import (
    EvenSampleTask,
    StrataTask,
    count_strata,
    cut_evenly,
    draw,
    even_sample,
    read_even_sample,
    shares,
    stratum_numbers,
    water_level,
)
from curate.engine.task import PLACE, PartitionTask, Task
from curate.relate.embedders.lexical import fit
from curate.relate.embedders.model import MEAN_FILE, find_model, pack
from curate.relate.encoders.quantised import mean_direction
from curate.relate.similarity import MAX_DIM
from curate.stages.embed.embedder import RunEmbedder, given_rows
from curate.tables.snapshot import TableRef

MEAN_DOCUMENTS = 2_048
"""Documents whose mean is removed; the mean of so many directions is off by about .02."""


def fit_of(run: StageRun) -> Fit:
    """How the stage's model is made: fitted on a sample of the texts, or a given one with the mean of a sample."""
    section, seed, embedder = run.recipe.embed, run.recipe.seed, RunEmbedder.of(run, None)
    kind = embedder.entry
    if kind.fits_corpus:

        def lexical() -> Task:
            sample, level = even_sample(run, section.sample_bytes, EmbedSampleTask, EmbedStrataTask)
            return FitLexicalTask(
                name="lexical",
                sample=sample.ref,
                level=level,
                sample_bytes=section.sample_bytes,
                dim=section.dim,
                seed=seed,
            )

        settings: dict[str, Any] = {"sample_bytes": section.sample_bytes, "dim": section.dim, "seed": seed}
        return Fit("lexical", settings, lexical, sample_size(run, section.sample_bytes))
    size = min(MEAN_DOCUMENTS, run.tables["verdicts"].counters.get("kept", 0))
    settings = {**kind.settings(section), "seed": seed}
    if not kind.reads_texts:
        return Fit("mean", settings, lambda: _mean_task(run, embedder, _column_dim(run)), size, "vectors")
    if kind.name != "model":
        return Fit("mean", settings, lambda: _mean_task(run, embedder, 0), size, "documents")
    folder = find_model(section.model)

    def packed() -> Task:
        task = PackModelTask(name="model", path=str(folder), checksum=settings["model"])
        model = run.step("tmp/model", [task]).files("tmp/model")[0]
        return _mean_task(run, RunEmbedder.of(run, model), 0)

    return Fit("model", settings, packed, size, "documents")


@dataclass(frozen=True, kw_only=True)
class EmbedStrataTask(StrataTask):
    """Documents and bytes of every stratum of one partition, as a model's sample is evened out over them."""


@dataclass(frozen=True, kw_only=True)
class EmbedSampleTask(EvenSampleTask):
    """The texts of one partition that the lexical model is fitted on."""

    writes_with = "embed_sample"


@dataclass(frozen=True, kw_only=True)
class FitLexicalTask(Task):
    """Vocabulary, weights and projection fitted on the sample, in one process."""

    per = "one"
    grows_with = "embed_sample"
    writes_with = "fixed"
    opens = "partition"
    threads = True

    sample: TableRef
    level: int
    sample_bytes: int
    dim: int
    seed: int

    def work(self, context: TaskContext) -> None:
        texts, strata = read_even_sample(context, self.sample, self.level, self.sample_bytes)
        with context.new_file("artefacts", "lexical", ".bin", 1) as local:
            fit(texts, dim=self.dim, seed=self.seed, strata=strata, threads=context.threads).save(local)


@dataclass(frozen=True, kw_only=True)
class PackModelTask(Task):
    """The model's folder as one file of the workspace, from which every worker takes it."""

    per = "one"
    grows_with = "fixed"

    path: str = field(metadata=PLACE)
    checksum: str

    def work(self, context: TaskContext) -> None:
        with context.new_file("tmp/model", "model", ".tar", 1) as local:
            pack(Path(self.path), local)


def _column_dim(run: StageRun) -> int:
    """Dimensions of the vectors that came with the records.

    Raises:
        RunError: they differ, are too many, or there is none.
    """
    found = run.tables["documents"].details["vectors"]
    dims = {int(dim): number for dim, number in found["dimensions"].items() if dim != "0"}
    if not dims and run.tables["documents"].rows:
        raise RunError(
            f"embed.field: no record has a list of numbers in the field {found['field']!r}; name the field that holds the "
            "vectors, or take another embed.model"
        )
    if len(dims) > 1:
        said = ", ".join(f"{number:,} of {dim} dimensions" for dim, number in sorted(dims.items()))
        raise RunError(f"embed.field: the vectors in {found['field']!r} differ: {said}; all must come from one model")
    dim = next(iter(dims), 1)
    if dim > MAX_DIM:
        raise RunError(
            f"embed.field: vectors of {dim} dimensions; similarities are exact up to {MAX_DIM}: shorten the vectors before "
            "(their first 1,024 dimensions, where the model allows it)"
        )
    return dim


def _mean_task(run: StageRun, embedder: RunEmbedder, dim: int) -> Task:
    """The task that fits the mean on a sample of the vectors, evened out over strata."""
    sizes = {name: size.documents for name, size in count_strata(run, EmbedStrataTask).items()}
    level = water_level(list(sizes.values()), MEAN_DOCUMENTS)
    given, share = shares(sizes, level), min(1.0, len(sizes) * level / max(sum(sizes.values()), 1))
    tasks = [
        DirectionsTask(
            **part.fields,
            embedder=embedder,
            dim=dim,
            seed=run.recipe.seed,
            given=given,
            **embedder.resources(part.memory(5 * share)),
        )
        for part in run.partitions("kept", "signals")
    ]
    sample = run.publish("tmp/directions", run.step("tmp/directions", tasks))
    return FitMeanTask(name="mean", sample=sample.ref, level=level, embedder=embedder, dim=dim, **embedder.resources())


@dataclass(frozen=True, kw_only=True)
class DirectionsTask(PartitionTask):
    """Vectors of the sampled documents of one partition, as floats."""

    grows_with = "kept_bytes"

    embedder: RunEmbedder
    dim: int
    seed: int
    given: Mapping[str, float]

    def work(self, context: TaskContext) -> None:
        drawn = draw(context, self, lambda ids: document_hash(self.seed, "mean", ids), self.given)
        rows_of_ids = given_rows(context, self, self.embedder, self.dim, drawn.pick)
        schema = _directions_schema(self.dim or self.embedder.encoder(context).dim)
        parts = ([*drawn.columns(ids), binary_column(rows.astype("<f4"))] for ids, rows in rows_of_ids)
        context.write_parts("tmp/directions", schema, (pa.table(columns, schema=schema) for columns in parts))


def _directions_schema(dim: int) -> pa.Schema:
    drawn = [("doc_id", pa.uint64()), ("hash", pa.uint64()), ("stratum", pa.string())]
    return pa.schema([*drawn, ("vector", pa.binary(4 * dim))])


@dataclass(frozen=True, kw_only=True)
class FitMeanTask(Task):
    """The mean direction of the documents of smallest hash in their strata, in one process; its number of rows is the dimension."""

    per = "one"
    grows_with = "fixed"
    opens = "partition"

    sample: TableRef
    level: int
    embedder: RunEmbedder
    dim: int

    def work(self, context: TaskContext) -> None:
        files = context.snapshot(self.sample).files
        dim = self.dim if self.dim or files else self.embedder.encoder(context).dim
        table = context.read_all(files, _directions_schema(dim)).sort_by("doc_id")
        strata, one = stratum_numbers(table["stratum"]), np.ones(table.num_rows, np.int64)
        rows = cut_evenly(strata, column(table, "hash"), column(table, "doc_id"), one, self.level, MEAN_DOCUMENTS)
        mean = mean_direction(bytes_matrix(table["vector"].take(pa.array(rows))).view("<f4"))
        saved, model = io.BytesIO(), self.embedder.model
        np.save(saved, mean, allow_pickle=False)
        with context.new_file("artefacts", self.name, ".npy" if model is None else ".tar", len(mean)) as local:
            if model is None:
                local.write_bytes(saved.getvalue())
                return
            shutil.copyfile(context.artefact_path(model), local)
            with tarfile.open(local, "a", format=tarfile.USTAR_FORMAT) as tar:
                entry = tarfile.TarInfo(MEAN_FILE)
                entry.size = saved.tell()
                saved.seek(0)
                tar.addfile(entry, saved)
