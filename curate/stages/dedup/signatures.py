"""The dedup stage, first part, in one read of the texts as edited: overlap with evaluation sets, and of the documents
left the content hash and MinHash signature."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.errors import RequestError, WorkspaceError
from curate.base.matrices import binary_column
from curate.dedup.contamination import Matches, NgramIndex, check_index, find_matches, ngram_index
from curate.dedup.minhash import MinHashParams, params_of, sign
from curate.engine.fit import Fit
from curate.engine.inputs import open_url
from curate.engine.reuse import Rows, held, rows_key, rows_of_partition, with_former
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.reading.formats import format_of
from curate.reading.formats import read as read_records
from curate.reading.records import Fields
from curate.recipe import Decontaminate, Dedup, Near, Recipe
from curate.storage.local import file_checksum
from curate.tables.artefact import artefact_path, read_artefact
from curate.tables.partition import IDs, edited_texts, kept_by_verdict
from curate.tables.snapshot import Snapshot
from curate.tables.validate import damaged, reraise_as_damaged

PERMUTATION_SEED = 1
"""datasketch's default seed, so that signatures can be compared with those made elsewhere."""


def dedup_section(recipe: Recipe) -> Dedup | None:
    """The dedup section; None when it is off."""
    return None if recipe.dedup == "off" else recipe.dedup


def near_section(recipe: Recipe) -> Near | None:
    """The section of near duplicates; None when they are off."""
    section = dedup_section(recipe)
    return None if section is None or section.near == "off" else section.near


def minhash_params(recipe: Recipe) -> MinHashParams:
    """Parameters of the signatures; the defaults where near deduplication is off (the content hash is still needed)."""
    near = near_section(recipe) or Near()
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


def decontamination(recipe: Recipe) -> Decontaminate | None:
    """The section of evaluation sets; None when there are none."""
    section = dedup_section(recipe)
    return None if section is None else section.decontaminate


def _signatures(run: StageRun) -> None:
    sidecars = {"verdicts": run.tables["verdicts"], "edits": run.tables["edits"]}
    params = asdict(minhash_params(run.recipe))
    section = decontamination(run.recipe)
    shared: dict[str, Any] = {"minhash": params, "evaluation": None}
    details: dict[str, Any] = {"minhash": params}
    extra = []
    if section is not None:
        index = run.model
        shared["evaluation"] = {"index": asdict(index), "ngram": section.ngram, "remove": section.action == "remove"}
        details["evaluation"] = asdict(index)
        extra = [index.checksum]
    specs = partition_specs(run.tables["documents"], sidecars, shared, extra, memory_factor=4)
    step = run.step("signatures", signatures_task, with_former(run, specs, ["verdicts", "edits"]))
    counters = {name: count for name, count in step.counters.items() if not name.startswith("contaminated")}
    found = {name: count for name, count in step.counters.items() if name.startswith("contaminated")}
    if section is not None:
        with reraise_as_damaged(f"{run.storage.url}/{index.path}"):
            loaded = load_evaluation(b"", artefact_path(run.storage, index))
        found |= {"evaluation.items": len(loaded.sets), "evaluation.items_too_short": loaded.too_short}
    key = rows_key(run)
    run.commit("contamination", step.files("contamination"), found, rows_key=key)
    run.commit("signatures", step.files("signatures"), counters, details, key)


def _fit(run: StageRun) -> Fit | None:
    section = decontamination(run.recipe)
    if section is None:
        return None
    settings = [_marks(section), section.ngram]
    sets = {name: [entry.path, entry.text_field] for name, entry in sorted(section.sets.items())}
    spec = Spec("evaluation", settings, {"sets": sets, "ngram": section.ngram})
    return Fit("evaluation", settings, evaluation_task, lambda: spec)


def _marks(section: Decontaminate) -> list[list[str]]:
    """What an evaluation set depends on: its name, its field and the checksum of its file.

    Raises:
        RequestError: a file does not exist.
    """
    found = []
    for name, entry in sorted(section.sets.items()):
        if not Path(entry.path).is_file():
            raise RequestError(f"dedup.decontaminate.sets.{name}: {entry.path} does not exist; name a local file")
        format_of(entry.path)
        found.append([name, entry.text_field, file_checksum(Path(entry.path))])
    return found


def evaluation_task(context: TaskContext, sets: dict[str, list[str]], ngram: int) -> None:
    """The n-grams of all evaluation items, in one process: evaluation sets are small."""
    texts, names, numbers = [], [], []
    for name, (path, text_field) in sorted(sets.items()):
        with open_url(path, context.storage.options) as opened:
            for batch in read_records(opened, path, Fields(text_field, None)):
                texts.append(batch.texts)
                names += [name] * len(batch.texts)
                numbers += batch.positions.tolist()
        if name not in names:
            raise ValueError(
                f"dedup.decontaminate.sets.{name}: no record of {path} has a text in the field {text_field!r}"
            )
    index, short = ngram_index(pa.concat_arrays(texts).cast(pa.large_string()), ngram)
    local = context.scratch_file()
    with local.open("wb") as file:
        # One array after the other: the archives that numpy writes hold the time.
        for part in (index.keys, index.items, np.array(names), np.array(numbers, np.int64), np.array([short])):
            np.save(file, part, allow_pickle=False)
    context.add("artefacts", "evaluation", ".bin", local, len(names))


class Evaluation(NamedTuple):
    """The n-grams of evaluation items, and by item its set and its place in the file."""

    ngrams: NgramIndex
    sets: NDArray[np.str_]
    numbers: NDArray[np.int64]
    too_short: int
    """Items with fewer words than an n-gram, which nothing can match."""


def load_evaluation(data: bytes, path: Path) -> Evaluation:
    """What :func:`evaluation_task` has stored.

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


def signatures_task(
    context: TaskContext,
    documents: Any,
    verdicts: Any,
    edits: Any,
    former: Any,
    minhash: dict[str, int],
    evaluation: Any,
) -> None:
    """Contamination and signatures of the documents of a partition that no rule removed, as edited."""
    params = MinHashParams(**minhash)
    known = None if evaluation is None else read_artefact(context.storage, evaluation["index"], load_evaluation)

    def made(ids: IDs, texts: pa.LargeStringArray) -> Rows:
        spans = schemas.CONTAMINATION.empty_table()
        if known is not None:
            found = find_matches(texts, known.ngrams, evaluation["ngram"])
            spans = _spans(found, ids, known, evaluation["remove"])
            if evaluation["remove"]:
                left = np.ones(len(ids), np.bool_)
                left[np.unique(found.row)] = False
                ids, texts = ids[left], texts.filter(pa.array(left))
        signed = sign(texts, params)
        columns = {
            "doc_id": pa.array(ids),
            "content_hash": binary_column(signed.content_hash),
            "signature": binary_column(signed.signature),
        }
        return {"contamination": spans, "signatures": pa.table(columns)}

    keep = kept_by_verdict(context, verdicts)
    old = held(
        context,
        former,
        ("contamination", "signatures"),
        lambda files: kept_by_verdict(context, files["verdicts"]),
        edits=edits,
    )
    with (
        context.writer("contamination", schemas.CONTAMINATION) as spans,
        context.writer("signatures", schemas.signatures_schema(params.num_perm)) as signatures,
    ):
        for rows in rows_of_partition(
            context, documents, keep, old, lambda ids: edited_texts(context, documents, edits, ids), made
        ):
            spans.write(rows["contamination"])
            signatures.write(rows["signatures"])
            context.count("documents", rows["signatures"].num_rows)
            if known is not None:
                _count_overlaps(context, rows["contamination"])


def _count_overlaps(context: TaskContext, spans: pa.Table) -> None:
    context.count("contaminated.documents", len(spans["doc_id"].unique()))
    pairs = spans.select(["doc_id", "set", "item"]).group_by(["doc_id", "set", "item"], use_threads=False).aggregate([])
    for entry in pairs["set"].value_counts().to_pylist():
        context.count(f"contaminated.overlaps.{entry['values']}", entry["counts"])


def _spans(found: Matches, ids: NDArray[np.uint64], known: Evaluation, removed: bool) -> pa.Table:
    columns = {
        "doc_id": pa.array(ids[found.row]),
        "start": pa.array(found.start),
        "end": pa.array(found.end),
        "set": pa.array(known.sets[found.item].tolist(), pa.string()),
        "item": pa.array(known.numbers[found.item]),
        "removed": pa.array(np.full(len(found.row), removed)),
    }
    return pa.table(columns, schema=schemas.CONTAMINATION)


def _signature_settings(recipe: Recipe) -> Any:
    section = decontamination(recipe)
    evaluation = None if section is None else [_marks(section), section.ngram, section.action]
    return {"minhash": asdict(minhash_params(recipe)), "evaluation": evaluation}


SIGNATURES = Stage(
    "dedup",
    2,
    ("documents", "edits", "verdicts"),
    ("contamination", "signatures"),
    _signature_settings,
    _signatures,
    fits=_fit,
)
