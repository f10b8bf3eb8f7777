"""Opened runs: tables, single rows, texts, windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import curate
from curate.base import schemas
from curate.base.errors import RequestError, WorkspaceError
from curate.finished_run import Run
from tests import hand


def test_table_spans_all_files(workspace: str) -> None:
    documents = curate.open(workspace).table("documents").collect()
    assert documents["doc_id"].to_list() == [i for held in hand.PARTITIONS.values() for i in held]


def test_table_without_files_is_empty(builder: hand.Builder) -> None:
    builder.commit("edits", "quality", [])
    assert curate.open(builder.finish()).table("edits").collect().height == 0


def test_unknown_table_names_the_nearest(workspace: str) -> None:
    with pytest.raises(RequestError, match=r"did you mean 'documents'.*ledger"):
        curate.open(workspace).table("document")


def test_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"holds no finished run"):
        curate.open(tmp_path)


def test_rows_by_doc_id_are_sorted_and_lack_unknown_ones(workspace: str) -> None:
    run = curate.open(workspace)
    found = run.rows("tokens", [hand.Y, hand.A, hand.A, 10**15], ["token_ids"])
    assert found["doc_id"].to_pylist() == [hand.A, hand.Y]
    assert found["token_ids"].to_pylist() == [hand.TOKENS[hand.A], hand.TOKENS[hand.Y]]
    assert run.rows("tokens", [10**15]).num_rows == 0


def test_rows_reads_the_right_row_groups(builder: hand.Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.tables.parquet.ROW_GROUP_BYTES", 1)
    rows = {
        "part": pa.table(
            {
                "doc_id": pa.array(range(0, 40, 2), pa.uint64()),
                "copies": pa.array([1] * 20, pa.uint16()),
                "reason": [""] * 20,
                "stages": pa.nulls(20, pa.list_(pa.uint16())),
            }
        )
    }
    builder.table("copies", "upsample", {name: one.cast(schemas.COPIES) for name, one in rows.items()})
    found = curate.open(builder.finish()).rows("copies", [38, 7, 0, 12])
    assert found["doc_id"].to_pylist() == [0, 12, 38]


def test_text_original_and_edited(workspace: str) -> None:
    text = curate.open(workspace).text(hand.LONG)
    assert text.original.startswith("a book")
    assert text.edited == text.original[2:]
    assert curate.open(workspace).text(hand.A) == (hand.TEXTS[hand.A][2],) * 2
    with pytest.raises(RequestError, match=r"no document with doc_id 77"):
        curate.open(workspace).text(77)


def test_windows_iterate_and_look_up(workspace: str) -> None:
    windows = curate.open(workspace).windows()
    assert len(windows) == 5
    assert [(w.shard, w.window) for w in windows] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    last = windows[1, 1]
    assert last.doc_ids == [hand.LONG, hand.Y]
    assert last.n_tokens == 8
    assert last == list(windows)[-1]
    with pytest.raises(RequestError, match=r"no window 9 in shard 1"):
        windows[1, 9]


def test_recipe_paths_are_resolved_against_the_workspace(workspace: str) -> None:
    recipe = curate.open(workspace).recipe
    assert recipe.workspace == workspace
    assert Path(recipe.inputs[0].path).resolve() == Path(workspace).parent / "in/web.jsonl"


def test_html_names_the_tables(workspace: str) -> None:
    page = curate.open(workspace)._repr_html_()
    assert "hand" in page
    assert '<td>windows</td><td style="text-align:right">11</td>' in page


def test_missing_file_is_named(builder: hand.Builder) -> None:
    workspace = builder.finish()
    builder.path("documents").unlink()
    with pytest.raises(WorkspaceError, match=r"documents/.* is missing .*curate verify"):
        curate.open(workspace).text(hand.A)


def test_pieces_of_a_document_are_read_where_they_are(workspace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, opened = curate.open(workspace), []
    monkeypatch.setattr(run, "open", lambda file: opened.append(file.name) or Run.open(run, file))
    windows = run.windows()
    everywhere = windows.holding(hand.E)
    assert everywhere.select(["shard", "window", "copy"]).to_pylist()[::2] == [
        {"shard": 0, "window": 1, "copy": 0},
        {"shard": 1, "window": 0, "copy": 1},
    ]
    assert windows.holding(hand.E, shard=1, tokens=14).equals(everywhere)
    assert windows.holding(hand.E, shard=0, tokens=15).equals(everywhere)
    assert windows.holding(hand.Y, shard=0, tokens=2).equals(windows.holding(hand.Y))
    opened.clear()
    assert windows.holding(hand.Y, shard=1, tokens=2).num_rows == 2
    assert opened == ["shard-00001"]


def test_looking_at_a_document_waits_for_no_large_package(workspace: str) -> None:
    code = (
        f"import sys, curate; run = curate.open({workspace!r}); run.stats(); run.sample(); run.explain('a'); "
        "print(sorted({'pandas', 'numba', 'ray', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
