"""Plots: well-formed, said in words too, bounded, and escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.base import schemas
from curate.finished_run import Run
from curate.relate.neighbors import neighbors
from curate.report.map import plane
from curate.report.plots import Plot, ticks
from tests import hand

PLOTS: list[Callable[[Run], Plot]] = [
    Run.plot_funnel, Run.plot_scores, Run.plot_components, Run.plot_path, Run.plot_map, Run.plot_lengths,
]  # fmt: skip


@pytest.mark.parametrize("make", PLOTS, ids=lambda make: make.__name__)
def test_well_formed_and_described(make: Callable[[Run], Plot], workspace: str, tmp_path: Path) -> None:
    plot = make(curate.open(workspace))
    plot.save(tmp_path / "plot.svg")
    root = ET.parse(tmp_path / "plot.svg").getroot()
    title, description = (root.find(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
    assert title is not None
    assert description is not None
    assert (title.text, description.text) == (plot.title, plot.description)
    assert plot.description
    assert plot == make(curate.open(workspace))


@pytest.mark.parametrize("make", PLOTS, ids=lambda make: make.__name__)
def test_of_an_empty_run(make: Callable[[Run], Plot], builder: hand.Builder) -> None:
    for name in ("duplicates", "order", "copies", "signals"):
        del builder.snapshots[name]
    ET.fromstring(make(curate.open(builder.finish())).svg)


def test_funnel_counts_down(workspace: str) -> None:
    said = curate.open(workspace).plot_funnel().description
    assert said == "input 9; after ingest 8; after quality 7; after dedup 5; after upsample 4"


def test_scores_show_the_limit_in_force(builder: hand.Builder) -> None:
    limits = {"preset": "gopher", "thresholds": {"gopher_quality": {"min_doc_words": 4}}}
    columns = pa.schema([("doc_id", pa.uint64()), ("gopher_quality_words", pa.int64())])
    rows = {
        name: pa.table(
            {"doc_id": held, "gopher_quality_words": [len(hand.TEXTS[i][2].split()) for i in held]}, schema=columns
        )
        for name, held in hand.PARTITIONS.items()
    }
    builder.table("signals", "quality", rows)
    said = curate.open(builder.finish({**hand.RECIPE, "quality": limits})).plot_scores().description
    assert said == "gopher_quality.gopher_short_doc: 37.5 % below 4"  # 3 of 8


def test_sample_by_hash_is_bounded_and_does_not_depend_on_files(builder: hand.Builder) -> None:
    def order(parts: int) -> dict[str, pa.Table]:
        ids = np.arange(6_000, dtype=np.uint64)
        return {
            f"part-{i:07d}-00000": pa.table(
                [mine, mine, np.zeros(len(mine)), np.zeros(len(mine))], names=schemas.ORDER.names
            ).cast(schemas.ORDER)
            for i, mine in enumerate(np.array_split(ids, parts))
        }

    found = []
    for parts in (1, 7):
        builder.table("order", "order", order(parts))
        found.append(curate.open(builder.finish()).hashed("order", 500, ["position"]))
    assert found[0].equals(found[1])
    assert found[0].num_rows == 500
    assert found[0]["doc_id"].equals(found[0]["position"])
    assert curate.open(builder.finish()).hashed("order", 9_000, []).num_rows == 6_000


def test_like_lies_beside_like() -> None:
    rng = np.random.default_rng(0)
    centres = rng.integers(-90, 90, (3, 16))
    vectors = (np.repeat(centres, 60, axis=0) + rng.integers(-9, 9, (180, 16))).astype(np.int8)
    found = neighbors(vectors, 10, 1.0)
    at = plane(vectors, found.ids, found.similarity)
    assert at.min() >= 0
    assert at.max() <= 1
    middles = at.reshape(3, 60, 2).mean(axis=1)
    nearest = np.linalg.norm(at[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == np.repeat(np.arange(3), 60)).mean() > 0.95
    assert plane(vectors[:2], found.ids[:2], found.similarity[:2]).shape == (2, 2)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_inside_and_few(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 6
    unseen = 1e-6 * max(abs(low), span)
    assert all(low - unseen <= value <= low + span + unseen for value in found)
