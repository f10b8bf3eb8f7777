"""Statistics add up, and say what the tables hold."""

from __future__ import annotations

import json

import polars as pl
import pytest

import curate
from curate.base.amounts import size
from curate.base.errors import RunError
from curate.inspect.stats import _quantiles
from curate.report.statistics import show, statistics
from tests import hand


def test_funnel_adds_up(workspace: str) -> None:
    funnel = curate.open(workspace).stats()["funnel"]
    assert (funnel["input"], funnel["rejected"], funnel["removed"], funnel["kept"]) == (9, 1, 4, 4)
    assert sum(step["records"] for step in funnel["removals"]) == 5
    assert [step["stage"] for step in funnel["removals"]] == ["ingest", "quality", "dedup", "dedup", "upsample"]


def test_funnel_that_does_not_add_up_is_refused(builder: hand.Builder) -> None:
    builder.table("ledger", "ledger", hand.ledger_rows(), {**hand.LEDGER_COUNTERS, "kept": 5})
    with pytest.raises(RunError, match="does not add up: 9 input records, but 1 rejected, 4 removed, 4 kept"):
        curate.open(builder.finish()).stats()


def test_sources_with_copies_and_licence(workspace: str) -> None:
    web, books = curate.open(workspace).stats()["sources"]
    assert (web["source"], web["kept"], web["tokens"], web["tokens_with_copies"], web["licence"]) == (
        "web",
        2,
        12,
        19,
        None,
    )
    assert (books["source"], books["input"], books["tokens_with_copies"], books["licence"]) == (
        "books",
        3,
        14,
        "CC0-1.0",
    )
    assert web["share"] == round(19 / 33, 4)


def test_quantiles_are_the_nearest_ranks() -> None:
    counted = pl.DataFrame({"source": ["a"] * 3, "n_tokens": [10, 20, 1_000], "documents": [50, 49, 1]})
    found = _quantiles(counted)
    assert found["documents"] == 100
    assert found["tokens"] == 500 + 980 + 1_000
    assert found["quantiles"] == {
        "0": 10,
        "0.1": 10,
        "0.25": 10,
        "0.5": 10,
        "0.75": 20,
        "0.9": 20,
        "0.99": 20,
        "1": 1_000,
    }


def test_lengths_count_one_copy_of_kept_documents(workspace: str) -> None:
    lengths = curate.open(workspace).stats()["lengths"]
    assert lengths["all"] == {
        "documents": 4, "tokens": 26, "mean": 6.5,
        "quantiles": {"0": 2, "0.1": 2, "0.25": 2, "0.5": 5, "0.75": 7, "0.9": 12, "0.99": 12, "1": 12},
    }  # fmt: skip
    assert lengths["books"]["documents"] == 2


def test_duplicates(workspace: str) -> None:
    found = curate.open(workspace).stats()["duplicates"]
    assert (found["exact"], found["near"], found["groups"], found["largest_group"]) == (1, 1, 2, 2)
    assert found["near_similarity"] == {"min": 0.9, "mean": 0.9, "max": 0.9}


def test_no_duplicates(builder: hand.Builder) -> None:
    empty = {name: table.slice(0, 0) for name, table in hand.ledger_rows().items()}
    builder.table("duplicates", "dedup", {name: table.select(["doc_id"]) for name, table in empty.items()})
    assert curate.open(builder.finish()).stats()["duplicates"]["largest_group"] == 0


def test_stats_are_json_and_print(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    stats = curate.open(workspace).stats()
    assert json.loads(json.dumps(stats)) == stats
    assert stats["packing"]["measures"]["padding"] == 0.05
    assert len(stats["seconds"]) == len(stats["tables"])
    show(statistics(stats))
    lines = capsys.readouterr().out.splitlines()
    assert not any(line != line.rstrip() for line in lines)
    assert ["kept", "4", "44.4", "%"] in [line.split() for line in lines]
    assert any(line.split() == ["books", "3", "0", "1", "2", "14", "14", "42.4", "%"] for line in lines)


def test_stopped_run_has_the_funnel_so_far(builder: hand.Builder) -> None:
    for table in ("ledger", "windows", "shards", "copies", "order", "duplicates"):
        del builder.snapshots[table]
    stats = curate.open(builder.finish()).stats()
    assert stats["funnel"] == {
        "input": 9, "rejected": 1, "removed": 1, "kept": 7,
        "removals": [
            {"stage": "ingest", "reason": "invalid_json", "records": 1},
            {"stage": "quality", "reason": "gopher_quality.gopher_short_doc", "records": 1},
        ],
    }  # fmt: skip
    assert "lengths" not in stats


@pytest.mark.parametrize(("value", "text"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_340_000_000, "2.3 GB")])
def test_sizes(value: int, text: str) -> None:
    assert size(value) == text
