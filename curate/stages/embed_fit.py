"""The model of the embed stage, an artefact of the workspace.

``lexical`` is fitted on a sample of the texts. A model's folder is copied into the workspace, with the mean of a hash
sample of its vectors, which is removed from all. Of vectors that came with the records only that mean is kept.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.errors import RunError
from curate.base.hashing import document_hash
from curate.base.matrices import binary_column, bytes_matrix
from curate.engine.fit import Fit
from curate.engine.sample import MARGIN, read_sample, sample_size, sample_texts
from curate.engine.stage import Spec, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.reading.vectors import to_matrix
from curate.recipe import cuts_paragraphs
from curate.relate.embedders import EMBEDDERS, embedder_name
from curate.relate.embedders.lexical import fit
from curate.relate.embedders.model import MEAN_FILE, find_model, pack
from curate.relate.encoders.quantised import mean_direction
from curate.relate.similarity import MAX_DIM
from curate.tables.artefact import artefact_path
from curate.tables.partition import SURVIVORS, IDs, column, is_in, remaining_texts, survivors
from curate.tables.snapshot import as_file

MEAN_DOCUMENTS = 2_048
"""Documents whose mean is removed; the mean of so many directions is off by about .02."""


MODEL_MEMORY = 5
"""Memory of a task that runs a model, in sizes of the model, beside that for the texts."""


def fit_of(run: StageRun) -> Fit:
    """How the stage's model is made: fitted on a sample of the texts, or a given one with the mean of a sample."""
    section = run.recipe.embed
    kind = EMBEDDERS.get(embedder_name(section.model))
    if kind.fits_corpus:

        def spec() -> Spec:
            sample = sample_texts(run, section.sample_bytes)
            params = {
                "sample": sample.path,
                "sample_bytes": section.sample_bytes,
                "dim": section.dim,
                "seed": run.recipe.seed,
            }
            return Spec("lexical", [sample.content], params)

        settings: dict[str, Any] = {"sample_bytes": section.sample_bytes, "dim": section.dim, "seed": run.recipe.seed}
        return Fit("lexical", settings, fit_lexical_task, spec, sample_size(run, section.sample_bytes))
    size = min(MEAN_DOCUMENTS, run.tables["verdicts"].counters.get("kept", 0))
    settings = {**kind.settings(section), "seed": run.recipe.seed}
    if not kind.reads_texts:
        return Fit(
            "mean", settings, fit_mean_task, lambda: _mean_spec(run, how_of(run), _column_dim(run)), size, "vectors"
        )
    if kind.name != "model":
        return Fit("mean", settings, fit_mean_task, lambda: _mean_spec(run, how_of(run), 0), size, "documents")
    folder = find_model(section.model)

    def packed() -> Spec:
        step = run.step("tmp/model", pack_model_task, [Spec("model", [settings["model"]], {"path": str(folder)})])
        return _mean_spec(run, how_of(run, asdict(step.files("tmp/model")[0])), 0)

    return Fit("model", settings, fit_mean_task, packed, size, "documents")


def how_of(run: StageRun, model: dict[str, Any] | None = None) -> dict[str, Any]:
    """The description of the embedder; see :data:`curate.relate.embedders.How`."""
    section = run.recipe.embed
    return {
        "kind": embedder_name(section.model),
        "model": model,
        "long_documents": section.long_documents,
        "prefix": section.prefix,
        "field": section.field,
    }


def with_model(specs: list[Spec], how: dict[str, Any]) -> list[Spec]:
    """The tasks with the memory that the model takes, on a GPU where there is one."""
    if how["kind"] != "model":
        return specs
    size = MODEL_MEMORY * int(how["model"]["bytes"])
    return [replace(spec, memory=spec.memory + size, gpu=True) for spec in specs]


def fit_lexical_task(context: TaskContext, sample: str, sample_bytes: int, dim: int, seed: int) -> None:
    """Vocabulary, weights and projection fitted on the sample, in one process."""
    model = fit(read_sample(context, sample, sample_bytes), dim=dim, seed=seed, threads=context.threads)
    local = context.scratch_file()
    model.save(local)
    context.add("artefacts", "lexical", ".bin", local, 1)


def pack_model_task(context: TaskContext, path: str) -> None:
    """The model's folder as one file of the workspace, from which every worker takes it."""
    local = context.scratch_file()
    pack(Path(path), local)
    context.add("tmp/model", "model", ".tar", local, 1)


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


def _mean_spec(run: StageRun, how: dict[str, Any], dim: int) -> Spec:
    """The task that fits the mean on a hash sample of the vectors."""
    tables = run.tables
    share = min(1.0, MEAN_DOCUMENTS * MARGIN / max(tables["verdicts"].counters.get("kept", 0), 1))
    params = {"how": how, "dim": dim, "cut": cuts_paragraphs(run.recipe), "seed": run.recipe.seed, "share": share}
    specs = partition_specs(
        tables["documents"], {name: tables[name] for name in SURVIVORS}, params, [share], memory_factor=5 * share
    )
    sample = run.publish("tmp/directions", run.step("tmp/directions", directions_task, with_model(specs, how)))
    found = Spec("mean", [sample.content], {"sample": sample.path, "how": how, "dim": dim})
    return with_model([found], how)[0]


def given_rows(
    context: TaskContext, documents: Any, how: dict[str, Any], dim: int, cut: bool, pick: Any, sidecars: dict[str, Any]
) -> Iterator[tuple[IDs, NDArray[np.float32]]]:
    """(doc_ids, float32[n, D]) of the documents left in a partition: a model's own vectors, or those of the records."""
    if (kind := EMBEDDERS.get(how["kind"])).reads_texts:
        model = kind.encoder(how, context.artefact_path)
        for ids, texts in remaining_texts(context, documents, cut=cut, pick=pick, **sidecars):
            yield ids, model.encode(texts.to_pylist())
        return
    keep = survivors(context, sidecars["verdicts"], sidecars["duplicates"], sidecars["contamination"])
    keep = keep if pick is None else keep[pick(keep)]
    for batch in context.batches(documents, ["doc_id", "embedding"]):
        batch = batch.filter(pa.array(is_in(column(batch, "doc_id"), keep)))
        if batch.num_rows:
            yield column(batch, "doc_id"), to_matrix(batch["embedding"], dim)


def _dim_of(how: dict[str, Any], context: TaskContext) -> int:
    return EMBEDDERS.get(how["kind"]).encoder(how, context.artefact_path).dim


def directions_task(
    context: TaskContext,
    documents: Any,
    how: dict[str, Any],
    dim: int,
    cut: bool,
    seed: int,
    share: float,
    **sidecars: Any,
) -> None:
    """Vectors of the sampled documents of one partition, as floats."""
    limit = int(share * 2.0**64)

    def hashes(ids: IDs) -> NDArray[np.uint64]:
        return document_hash(seed, "mean", ids)

    def drawn(ids: IDs) -> NDArray[np.bool_]:
        return hashes(ids) < np.uint64(limit)

    width = dim or _dim_of(how, context)
    fields = [("doc_id", pa.uint64()), ("hash", pa.uint64()), ("vector", pa.binary(4 * width))]
    with context.writer("tmp/directions", pa.schema(fields)) as writer:
        for ids, rows in given_rows(context, documents, how, dim, cut, None if limit >= 2**64 else drawn, sidecars):
            columns = {"doc_id": ids, "hash": hashes(ids), "vector": binary_column(rows.astype("<f4"))}
            writer.write(pa.table({name: pa.array(values) for name, values in columns.items()}))


def fit_mean_task(context: TaskContext, sample: str, how: dict[str, Any], dim: int) -> None:
    """The mean direction of the documents of smallest hash, in one process; its number of rows is the dimension."""
    parts = [context.read(file) for file in context.snapshot(sample).files]
    table = pa.concat_tables(parts).sort_by([("hash", "ascending"), ("doc_id", "ascending")]) if parts else None
    if table is None or table.num_rows == 0:
        mean = np.zeros(dim or _dim_of(how, context))
    else:
        rows = bytes_matrix(table.slice(0, MEAN_DOCUMENTS).sort_by("doc_id")["vector"]).view("<f4")
        mean = mean_direction(rows)
    saved = io.BytesIO()
    np.save(saved, mean, allow_pickle=False)
    local = context.scratch_file()
    if how["model"]:
        shutil.copyfile(artefact_path(context.storage, as_file(how["model"])), local)
        with tarfile.open(local, "a", format=tarfile.USTAR_FORMAT) as tar:
            entry = tarfile.TarInfo(MEAN_FILE)
            entry.size = saved.tell()
            saved.seek(0)
            tar.addfile(entry, saved)
    else:
        local.write_bytes(saved.getvalue())
    context.add("artefacts", context.task.name, ".tar" if how["model"] else ".npy", local, len(mean))
