"""The plan: every stage in order, and the keys that a recipe gives them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from curate.errors import RequestError
from curate.hashing import digest
from curate.recipe import Recipe
from curate.run.stage import Stage

STAGE_NAMES = (
    "ingest",
    "quality",
    "dedup",
    "tokenize",
    "embed",
    "cluster",
    "select",
    "order",
    "upsample",
    "synthetic",
    "pack",
    "shards",
    "ledger",
)


@lru_cache(maxsize=1)
def stages() -> tuple[Stage, ...]:
    """Every stage in the order in which it runs; a stage name may stand for several entries."""
    from curate.dedup.duplicates_stage import DUPLICATES
    from curate.dedup.paragraphs_stage import PARAGRAPHS
    from curate.dedup.signatures_stage import SIGNATURES
    from curate.lengths.stage import UPSAMPLE
    from curate.lengths.synthetic_stage import SYNTHETIC
    from curate.packing.stage import PACK
    from curate.quality.stage import SIGNALS, VERDICTS
    from curate.reading.stage import INGEST
    from curate.relate.cluster_stage import CLUSTER
    from curate.relate.embed_stage import EMBED
    from curate.relate.order_stage import ORDER
    from curate.relate.select_stage import SELECT
    from curate.run.ledger import LEDGER
    from curate.shards.shards_stage import SHARDS
    from curate.shards.tokenize_stage import TOKENIZE

    return (
        INGEST,
        SIGNALS,
        VERDICTS,
        SIGNATURES,
        DUPLICATES,
        PARAGRAPHS,
        TOKENIZE,
        EMBED,
        CLUSTER,
        SELECT,
        ORDER,
        UPSAMPLE,
        SYNTHETIC,
        PACK,
        SHARDS,
        LEDGER,
    )


def stage_keys(recipe: Recipe, plan: Sequence[Stage]) -> dict[str, str]:
    """Key by title of stage: settings, version and the keys of the stages it reads; no data."""
    writers: dict[str, str] = {}
    keys = {}
    for stage in plan:
        key = digest(
            [stage.name, stage.writes, stage.version, stage.settings(recipe), [writers[table] for table in stage.reads]]
        )
        keys[stage.title] = key
        writers |= dict.fromkeys(stage.writes, key)
    return keys


def until(plan: Sequence[Stage], name: str | None) -> tuple[Stage, ...]:
    """The plan up to and with the last entry of stage ``name``.

    Raises:
        RequestError: there is no such stage.
    """
    if name is None:
        return tuple(plan)
    last = max((i for i, stage in enumerate(plan) if stage.name == name), default=None)
    if last is None:
        raise RequestError(f"there is no stage {name!r}; stages: {', '.join(STAGE_NAMES)}")
    return tuple(plan[: last + 1])
