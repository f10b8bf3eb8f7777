"""What SECURITY.md promises of files that come from others: recipes, workspaces and corpora are data, never code."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import curate
from curate.cli import main
from curate.errors import WorkspaceError
from curate.run.snapshot import read_snapshot
from curate.run.storage import LocalStorage
from curate.run.workspace import open_workspace, read_run
from curate.schemas import SCHEMA_VERSION

PACKAGE = Path(curate.__file__).parent
MAY_PICKLE = {"run/engine.py"}
"""Descriptors of tasks, made by the driver and read by its own workers; nothing of it is ever written to a workspace."""


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """(dotted name, call) of every call in a module."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_that_is_read_can_run_code():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not imported & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} or name in MAY_PICKLE, (
            name
        )
        for called, call in calls(tree):
            assert called not in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "torch.load"), name
            if called in ("np.load", "numpy.load"):
                allowed = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert allowed.get("allow_pickle") == "False", f"{name}: {ast.unparse(call)}"


def test_a_recipe_is_data(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: !!python/object/apply:os.system ['touch {tmp_path}/ran']\ninputs: []\n")
    assert main(["run", str(recipe)]) == 2
    assert "recipe.yaml" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def snapshot_with(path: str, version: int = SCHEMA_VERSION) -> bytes:
    """A manifest of one file."""
    file = {"name": "0", "path": path, "rows": 1, "bytes": 1, "checksum": "0" * 32, "first": 0, "last": 0}
    known = {"table": "documents", "stage": "ingest", "stage_key": "k", "id": "s", "files": [file]}
    return json.dumps({"schema_version": version, **known, "rows": 1, "bytes": 1}).encode()


def workspace_with(folder: Path, manifest: str, version: int = SCHEMA_VERSION) -> LocalStorage:
    """A workspace whose run names one manifest."""
    storage = LocalStorage(folder)
    state = {"schema_version": version, "name": "x", "recipe": {}, "tables": {"documents": manifest}}
    storage.put("run.json", json.dumps(state).encode())
    return storage


@pytest.mark.parametrize("path", ["../secret.json", "/etc/passwd", "documents/../../secret.json"])
def test_paths_in_a_workspace_do_not_lead_out_of_it(tmp_path, path):
    (tmp_path / "secret.json").write_bytes(snapshot_with("x"))
    workspace_with(tmp_path / "run", path)
    with pytest.raises(WorkspaceError, match="leads out of"):
        open_workspace(str(tmp_path / "run"))
    storage = workspace_with(tmp_path / "run", "documents/m.json")
    storage.put("documents/m.json", snapshot_with(path))
    _, _, tables = open_workspace(str(tmp_path / "run"))
    with pytest.raises(WorkspaceError, match="leads out of"):
        storage.open(tables["documents"].files[0].path)


def test_another_schema_version_is_refused_and_both_are_named(tmp_path):
    storage = workspace_with(tmp_path / "run", "m.json", version=SCHEMA_VERSION + 7)
    both = f"version {SCHEMA_VERSION + 7}, this release reads {SCHEMA_VERSION}"
    with pytest.raises(WorkspaceError, match=both):
        read_run(storage)
    storage.put("m.json", snapshot_with("x", SCHEMA_VERSION + 7))
    with pytest.raises(WorkspaceError, match=both):
        read_snapshot(storage, "m.json")
