"""What all tests share: settings, the hand-written workspace as fixtures, and a real run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

import curate
from curate.finished_run import Run
from tests.corpus import recipe_of, write_corpus
from tests.hand import Builder, build

# A first call compiles or reads a kernel, and the machine may be busy: time decides nothing here.
settings.register_profile("curate", deadline=None)
settings.load_profile("curate")

# Private to the tests: no token file in the home folder, no dashboard, one thread in a task.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """The tables of the workspace; :meth:`Builder.finish` makes it a run."""
    return build(tmp_path / "ws")


@pytest.fixture
def workspace(builder: Builder) -> str:
    """A finished workspace."""
    return builder.finish()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real run with cuts: line rules, masks, paragraphs and words of an evaluation set, and a validation set."""
    folder = tmp_path_factory.mktemp("export")
    corpus = write_corpus(folder / "text", 120)
    shared = "\n\nEvery visitor of the old harbour should read this notice with great care before supper.\n\n"
    secret = "the quick brown fox jumps over the lazy dog while fourteen grey geese watch it from the pond"
    (corpus / "e.jsonl").write_text(
        "\n".join(
            json.dumps({"id": f"own-{i}", "text": body, "score": i, "name": "Zoë"}, ensure_ascii=False)
            for i, body in enumerate(
                [
                    " ".join(f"alpha{n}" for n in range(60))
                    + " of the and mail bob@example.org now."
                    + shared
                    + "First.",
                    " ".join(f"beta{n}" for n in range(60)) + f" of the and {secret}." + shared + "Second.",
                ]
            )
        )
    )
    (folder / "set.jsonl").write_text(json.dumps({"text": secret}))
    sections = {
        "quality": {"rules": [], "pii": {"mask": ["email"]}},
        "dedup": {
            "semantic": "off",
            "paragraphs": "on",
            "decontaminate": {"sets": {"quiz": f"{folder}/set.jsonl"}, "action": "cut"},
        },
        "shards": {"validation": {"share": 0.2}},
    }
    return curate.run(recipe_of(corpus, folder / "run", **sections))
