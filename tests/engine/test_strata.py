"""Samples evened out over strata: a function of the documents, in which every stratum has its part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.driver.execute import Outcome, run_recipe
from curate.engine.progress import Progress
from curate.engine.strata import blocks, cut_evenly, shares, water_level
from curate.recipe.file import from_dict

SIZES = st.lists(st.integers(0, 1_000), min_size=1, max_size=12)


@given(SIZES, st.integers(1, 5_000))
def test_the_water_level_is_the_highest_that_fits(sizes: list[int], budget: int) -> None:
    def given_at(level: int) -> int:
        return sum(min(size, level) for size in sizes)

    level = water_level(sizes, budget)
    assert level == 1 or given_at(level) <= budget
    assert sum(sizes) <= budget or given_at(level + 1) > budget
    assert level >= max(sizes) or sum(sizes) > budget


def test_the_share_of_a_stratum_shrinks_with_its_size() -> None:
    assert shares({"large": 10_000, "larger": 20_000, "small": 100}, 1_000) == {"large": 0.15, "larger": 0.075}


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 400))
def test_the_cut_does_not_depend_on_the_order_of_the_rows(seed: int, level: int, budget: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    strata, sizes, ids = rng.integers(0, 4, n), rng.integers(1, 9, n), rng.permutation(n).astype(np.uint64)
    hashes = rng.integers(0, 20, n).astype(np.uint64)  # with ties
    order = rng.permutation(n)
    taken = cut_evenly(strata, hashes, ids, sizes, level, budget)
    again = cut_evenly(strata[order], hashes[order], ids[order], sizes[order], level, budget)
    assert sorted(ids[taken]) == sorted(ids[order][again])
    assert len(taken) == 1 or sizes[taken].sum() <= budget
    for stratum in set(strata[taken].tolist()):
        own = taken[strata[taken] == stratum]
        assert len(own) == 1 or sizes[own].sum() <= level


def test_a_block_is_that_of_most_letters() -> None:
    texts = [
        "plain text, 2024",
        "Żółw i jeż",
        "город Москва (Moscow)",
        "नमस्ते दुनिया",
        "你好世界",
        "안녕하세요",
        "",
        "123 — 456",
        "αβγ привет мир",
    ]
    found = blocks(pa.array(texts, pa.large_string()))
    latin = "U+00xx"
    assert found == [latin, latin, "U+04xx", "U+09xx", "U+4Exx", "U+ACxx", latin, latin, "U+04xx"]


def corpus(folder: Path) -> None:
    """A source of 396 pages in forty kinds, one of 4 letters."""
    rng = np.random.default_rng(2)
    pages = [
        {"id": f"p{i}", "text": " ".join(f"page{i % 40}x{w}" for w in rng.integers(0, 30, 20))} for i in range(396)
    ]
    letters = [{"id": f"l{i}", "text": " ".join(f"letter{w}" for w in rng.integers(0, 12, 20))} for i in range(4)]
    for name, rows in (("pages", pages), ("letters", letters)):
        (folder / name).mkdir(parents=True)
        (folder / name / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Remarks(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def run(folder: Path, workspace: str, remarks: Remarks, **sections: Any) -> Outcome:
    recipe = {
        "workspace": str(folder / workspace),
        "engine": "inline",
        "inputs": [{"source": name, "path": str(folder / name)} for name in ("letters", "pages")],
        "quality": "off",
        "dedup": "off",
        "tokenizer": {"train": {"vocab_size": 300}},
        "embed": {"dim": 16, "sample_bytes": 4_000},
        **sections,
    }
    return run_recipe(from_dict(recipe, folder), stop_after="embed", progress=remarks)


def model_of(folder: Path, workspace: str) -> bytes:
    (model,) = (folder / workspace / "artefacts").rglob("lexical*.bin")
    return model.read_bytes()


def test_a_small_source_is_in_the_sample_whatever_the_partitions(tmp_path: Path) -> None:
    corpus(tmp_path)
    remarks = Remarks()
    whole = run(tmp_path, "whole", remarks)
    parts = run(tmp_path, "parts", remarks, ingest={"partition_bytes": 6_000})
    assert len(parts.tables["documents"].files) > 3 > len(whole.tables["documents"].files)
    assert model_of(tmp_path, "whole") == model_of(tmp_path, "parts")
    held = whole.tables["embeddings"].details["measures"]["held"]
    assert parts.tables["embeddings"].details["measures"]["held"] == held
    assert held["letters"] > 0.4 > held["pages"]  # a hundredth of the documents, all of them in the sample
    (remark,) = {text for text in remarks.texts if "of what these sources say" in text}
    assert "pages 0.0" in remark
    assert "letters" not in remark
