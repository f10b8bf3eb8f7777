"""The dedup stage, first part: the content hash and MinHash signature of each document that no rule removed, as edited."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from curate import schemas
from curate.dedup.minhash import MinHashParams, sign
from curate.errors import WorkspaceError
from curate.recipe import Dedup, Near, Recipe
from curate.run.partition import edited_texts, kept_by_verdict
from curate.run.snapshot import Snapshot
from curate.run.stage import Stage, StageRun, partition_specs
from curate.run.tasks import TaskContext
from curate.run.vectors import binary_column

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
    """The parameters that a table of signatures was made with."""
    return MinHashParams(**signatures.details["minhash"])


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


def _signatures(run: StageRun) -> None:
    sidecars = {"verdicts": run.tables["verdicts"], "edits": run.tables["edits"]}
    params = asdict(minhash_params(run.recipe))
    step = run.step(
        "signatures",
        signatures_task,
        partition_specs(run.tables["documents"], sidecars, {"minhash": params}, memory_factor=4),
    )
    run.commit("signatures", step.files("signatures"), step.counters, details={"minhash": params})


def signatures_task(context: TaskContext, documents: Any, verdicts: Any, edits: Any, minhash: dict[str, int]) -> None:
    """Signatures of the documents of a partition that no rule removed, as edited."""
    params = MinHashParams(**minhash)
    with context.writer("signatures", schemas.signatures_schema(params.num_perm)) as writer:
        for ids, texts in edited_texts(context, documents, edits, kept_by_verdict(context, verdicts)):
            signed = sign(texts, params)
            writer.write(
                pa.table(
                    {
                        "doc_id": pa.array(ids),
                        "content_hash": binary_column(signed.content_hash),
                        "signature": binary_column(signed.signature),
                    }
                )
            )
            context.count("documents", len(ids))
            context.count("words", int(signed.n_words.sum()))


def _signature_settings(recipe: Recipe) -> Any:
    return asdict(minhash_params(recipe))


SIGNATURES = Stage("dedup", 1, ("documents", "edits", "verdicts"), ("signatures",), _signature_settings, _signatures)
