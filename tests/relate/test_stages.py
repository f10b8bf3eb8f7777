"""The stages of relatedness on the generated corpus, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.look.verify import verify
from curate.recipe_file import from_dict
from curate.run.execute import Outcome, run_recipe
from curate.run.workspace import open_workspace
from tests.corpus import recipe_of, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text", count=120)


def run(folder: Path, corpus: Path, until: str | None = "pack", **sections: Any) -> Outcome:
    return run_recipe(from_dict(recipe_of(corpus, folder / "run", **sections), folder), stop_after=until)


@pytest.mark.parametrize(
    "order", [{"method": "keyword"}, {"method": "buffered", "buffer": 30, "star": 4}, {"method": "icp_code"}]
)
def test_every_order_runs_and_verifies(corpus: Path, tmp_path: Path, order: dict[str, Any]) -> None:
    outcome = run(tmp_path, corpus, None, order=order)
    measures = outcome.tables["order"].details["measures"]
    assert measures["documents"] == outcome.tables["order"].rows > 50
    assert measures["adjacent"] > measures["adjacent_random"]
    assert not verify(str(tmp_path / "run")).faults
    details = open_workspace(str(tmp_path / "run"))[2]["embeddings"].details
    assert bool(details["keywords"]) == (order["method"] == "keyword")
