"""The shards stage: tokens travel to their windows, and each shard is written in every wanted format."""

from __future__ import annotations

from typing import Any

from curate.engine.stage import Stage, StageRun
from curate.recipe import Recipe
from curate.recipe.paths import essential_recipe
from curate.shards.sampled import mean_of_samples
from curate.stages.shards.files import finish, shard_specs, shard_task, sums_of_sets, widths
from curate.stages.shards.formats import written_parts
from curate.stages.shards.routing import route_spans
from curate.stages.shards.takedown import shards_without


def _settings(recipe: Recipe) -> Any:
    # "layout": they once were Parquet alone, with other columns
    denoise = recipe.shards.denoise and {**recipe.shards.denoise.model_dump(), "layout": 2}
    return {"formats": recipe.shards.formats, "denoise": denoise, "recipe": essential_recipe(recipe)}


def _shards(run: StageRun) -> None:
    windows = run.tables["windows"]
    spans = route_spans(run, run.tables, windows.files)
    width = widths(run, windows.files)
    written = run.step("shards", shard_task, shard_specs(run, spans, windows.files, width))
    parts = written_parts(written, run.recipe.shards.formats)
    sums = sums_of_sets(windows, written, "sum")
    measures = mean_of_samples([record.values["sample"] for record in written.records if "sample" in record.values])
    finish(run, written.files("shards"), parts, sums, written.counters, measures, width)


SHARDS = Stage(
    "shards",
    4,
    ("documents", "tokens", "synthetic", "windows"),
    ("shards",),
    _settings,
    _shards,
    by_generation=True,
    without=shards_without,
)
