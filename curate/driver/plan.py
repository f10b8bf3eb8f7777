"""The plan: every stage in order, and the keys that a recipe gives them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from curate.base.catalog import STAGES
from curate.base.errors import RequestError
from curate.base.hashing import digest
from curate.engine.stage import Stage
from curate.recipe import Recipe


@lru_cache(maxsize=1)
def stages() -> tuple[Stage, ...]:
    """Every stage in the order in which it runs; a stage name may stand for several entries."""
    from curate.stages.cluster import CLUSTER
    from curate.stages.dedup.duplicates import DUPLICATES
    from curate.stages.dedup.kept import KEPT
    from curate.stages.dedup.paragraphs import PARAGRAPHS
    from curate.stages.dedup.signatures import SIGNATURES
    from curate.stages.embed import EMBED
    from curate.stages.ingest import INGEST
    from curate.stages.ledger import LEDGER
    from curate.stages.order import ORDER
    from curate.stages.pack.stage import PACK
    from curate.stages.quality import SIGNALS, VERDICTS
    from curate.stages.select import SELECT
    from curate.stages.shards.stage import SHARDS
    from curate.stages.synthetic import SYNTHETIC
    from curate.stages.tokenize import TOKENIZE
    from curate.stages.upsample import UPSAMPLE

    return (
        INGEST,
        SIGNALS,
        VERDICTS,
        SIGNATURES,
        DUPLICATES,
        PARAGRAPHS,
        KEPT,
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
        raise RequestError(f"there is no stage {name!r}; stages: {', '.join(STAGES)}")
    return tuple(plan[: last + 1])
