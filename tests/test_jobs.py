"""The entry scripts in jobs/: what the shards alone ask before they start."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import yaml

from curate.finished_run import Run

JOBS = Path(__file__).resolve().parent.parent / "jobs"


def test_shards_alone_start_only_where_the_order_is_there(run: Run, tmp_path: Path) -> None:
    earlier_stages = runpy.run_path(str(JOBS / "shards.py"))["earlier_stages"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(run.recipe.model_dump(mode="json", exclude_unset=True)))
    assert earlier_stages([str(recipe), "--repack"]) == []
    assert earlier_stages([str(recipe), "--set", "pack.window=128"]) == []
    assert earlier_stages([str(recipe), "--set", "dedup.near.threshold=0.5"])[0] == "dedup"
    with pytest.raises(SystemExit) as stopped:
        earlier_stages([str(tmp_path / "none.yaml")])
    assert stopped.value.code == 2
