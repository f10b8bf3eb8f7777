"""`kill -9` in the middle of every stage, then the same command: the same bytes, and nothing half-done is ever visible."""

from __future__ import annotations

import json

import pytest

from curate.base.errors import WorkspaceError
from curate.driver.plan import stages
from curate.tables.workspace import open_workspace
from tests.e2e.pipeline import curate, kill_when, shard_bytes, whole_recipe, write_recipe


def in_stage(title: str, event: str):
    """True at the first ``event`` after the stage with ``title`` has begun."""
    begun = False

    def wanted(line: str) -> bool:
        nonlocal begun
        data = json.loads(line)
        if data["event"] == "stage":
            begun = data["title"] == title
        return begun and data["event"] == event

    return wanted


def test_one_run_killed_in_every_stage_after_the_other(corpus, reference, tmp_path):
    """Each stage is killed after its first task; the next run goes on and is killed in the following stage."""
    recipe = write_recipe(tmp_path / "recipe.yaml", whole_recipe(corpus, tmp_path / "run"))
    for stage in stages():
        assert kill_when(recipe, in_stage(stage.title, "task")), stage.title
        with pytest.raises(WorkspaceError, match="no finished run"):
            open_workspace(str(tmp_path / "run"))
    curate("run", str(recipe))
    assert shard_bytes(tmp_path / "run") == reference
    assert "no fault" in curate("verify", str(tmp_path / "run")).stdout
    curate("clean", str(tmp_path / "run"), "--yes")
    assert shard_bytes(tmp_path / "run") == reference
    assert "nothing to do" in "".join(curate("run", str(recipe)).stdout)


@pytest.mark.parametrize("writes", ["documents", "duplicates", "shards"])
def test_a_run_on_ray_killed_in_a_stage(corpus, reference, tmp_path, writes):
    title = next(stage.title for stage in stages() if writes in stage.writes)
    recipe = write_recipe(tmp_path / "recipe.yaml", whole_recipe(corpus, tmp_path / "run", engine="ray"))
    assert kill_when(recipe, in_stage(title, "task"), "--cpus", "2")
    curate("run", str(recipe), "--cpus", "2")
    assert shard_bytes(tmp_path / "run") == reference
