"""The removal alarm is asked again when its limit changes, although the duplicates are there."""

from __future__ import annotations

import json

import pytest

from curate.api import as_recipe
from curate.base.errors import RemovalAlarm
from curate.driver.execute import run_recipe
from tests.corpus import documents


def test_a_stricter_limit_is_checked_and_computes_nothing(tmp_path):
    texts = [one["text"] for one in documents(2)]
    lines = [json.dumps({"text": texts[i % 2] + " !" * i}) for i in range(20)]
    (tmp_path / "web.jsonl").write_text("\n".join(lines))

    def run(limit):
        recipe = {
            "workspace": str(tmp_path / "ws"),
            "engine": "inline",
            "inputs": [{"source": "web", "path": str(tmp_path / "web.jsonl")}],
            "quality": "off",
            "dedup": {"max_removed_share": limit},
        }
        return run_recipe(as_recipe(recipe), stop_after="dedup")

    assert run(0.95).tables["duplicates"].rows == 18
    with pytest.raises(RemovalAlarm):
        run(0.5)
    again = run(0.9)
    assert again.tables["duplicates"].rows == 18
    assert again.tasks_run == 0
