"""Where quality is off throughout, only what other stages need is measured; the removals are the same."""

from __future__ import annotations

import json

import pytest

import curate
from curate.recipe.file import from_dict
from curate.stages.quality import sizes_suffice
from tests.corpus import documents


def recipe(folder, **sections):
    return {
        "workspace": str(folder / "ws"),
        "engine": "inline",
        "inputs": [{"source": "web", "path": str(folder / "a.jsonl")}],
        "quality": "off",
        **sections,
    }


def test_sizes_alone_are_measured_and_decide_the_same(tmp_path):
    texts = [one["text"] for one in documents(80)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run = curate.run(recipe(tmp_path), until="dedup")
    signals = run.table("signals").collect()
    assert signals.columns == ["doc_id", "n_bytes", "n_chars"]
    assert signals["n_chars"].to_list() == [len(text) for text in texts]
    assert signals["n_bytes"].to_list() == [len(text.encode()) for text in texts]
    few = run.table("duplicates").collect()
    on = {**recipe(tmp_path), "workspace": str(tmp_path / "on"), "quality": {"rules": []}}
    whole = curate.run(on, until="dedup")
    assert few.height > 10
    assert whole.table("duplicates").collect().equals(few)


@pytest.mark.parametrize(
    ("sections", "enough"),
    [({}, True), ({"dedup": {"prefer": ["n_words"]}}, False), ({"quality": {}}, False), ({"dedup": "off"}, True)],
)
def test_everything_is_measured_where_something_needs_it(tmp_path, sections, enough):
    assert sizes_suffice(from_dict(recipe(tmp_path, **sections), tmp_path)) == enough
