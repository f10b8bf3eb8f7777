"""Two runs compared: settings, ends and measures that differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import curate
from curate.base.errors import RequestError
from curate.cli import main
from curate.finished_run import Run
from tests import hand


def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units: list[object], **recipe: object) -> Run:
    """The same corpus where NEAR is kept and Y is not."""
    rows = hand.ledger_rows()

    def changed() -> object:
        for name, table in rows.items():
            found = table.to_pylist()
            for row in found:
                if row["doc_id"] == hand.NEAR:
                    row.update(status="kept", stage=None, reason=None, n_tokens=7, copies=1)
                if row["doc_id"] == hand.Y:
                    row.update(status="removed", stage="quality", reason="where")
            rows[name] = table.from_pylist(found, table.schema)
        return rows

    monkeypatch.setattr(hand, "ledger_rows", changed)
    builder = hand.build(tmp_path / "other")
    builder.snapshots["documents"].details["units"] = units
    builder.commit("documents", "ingest", list(builder.snapshots["documents"].files), units=units)
    return curate.open(builder.finish({**hand.RECIPE, **recipe}))


def test_a_run_is_like_itself(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = curate.open(workspace).compare(workspace)
    assert (found["changes"], found["recipe"]) == ([], [])
    assert found["kept"] == {"both": 4, "only first": 0, "only second": 0}
    assert main(["compare", workspace, workspace]) == 0
    assert "no difference in recipe, documents or measures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("units", "by"), [([], "doc_id"), ([{"ordinal": 9, "source": "web", "files": [], "gone": []}], "source and id")]
)
def test_differences(
    units: list[object], by: str, workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = other(tmp_path, monkeypatch, units, seed=4)
    found = curate.open(workspace).compare(second)
    assert found["matched_by"] == by
    assert found["kept"] == {"both": 3, "only first": 1, "only second": 1}
    assert found["recipe"] == [{"field": "seed", "first": 0, "second": 4}]
    assert found["changes"] == [
        {"first": "kept", "second": "removed: where", "records": 1, "examples": ["y"]},
        {"first": "removed: near", "second": "kept", "records": 1, "examples": ["f"]},
    ]
    measures = {one["name"]: (one["first"], one["second"]) for one in found["measures"]}
    assert measures["sources.web.kept"] == (2, 3)
    assert measures["packing.measures.padding"] == (0.05, 0.05)


def test_command(
    workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = other(tmp_path, monkeypatch, [])
    assert main(["compare", workspace, second.url]) == 0
    shown = capsys.readouterr().out
    assert "kept           removed: where" in shown
    assert "sources.web.kept" in shown
    assert main(["compare", workspace, second.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"]["both"] == 3


def test_a_run_without_a_ledger(builder: hand.Builder) -> None:
    del builder.snapshots["ledger"]
    workspace = builder.finish()
    with pytest.raises(RequestError, match="there is no table 'ledger'"):
        curate.open(workspace).compare(workspace)
