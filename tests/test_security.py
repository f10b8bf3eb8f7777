"""What SECURITY.md promises of files that come from others: recipes, workspaces and corpora are data, never code."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

import curate
from curate.base.errors import WorkspaceError
from curate.base.schemas import SCHEMA_VERSION
from curate.cli import main
from curate.inspect.reader import stored_recipe
from curate.storage.local import LocalStorage
from curate.tables.snapshot import TableFile, artefact_path, decode, encode, read_snapshot
from curate.tables.workspace import history, open_workspace, read_run, states
from tests.corpus import recipe_of, write_corpus

PACKAGE = Path(curate.__file__).parent
MAY_PICKLE = {"engine/calls.py", "engine/engines.py", "engine/workers.py"}
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
    return of_version({**known, "rows": 1, "bytes": 1}, version)


def of_version(content: dict, version: int) -> bytes:
    """A JSON file of a workspace as a release of that schema version would have written it."""
    with patch("curate.tables.snapshot.SCHEMA_VERSION", version):
        return encode(content)


def workspace_with(folder: Path, manifest: str, version: int = SCHEMA_VERSION) -> LocalStorage:
    """A workspace whose run names one manifest."""
    storage = LocalStorage(folder)
    state = {"name": "x", "recipe": {}, "tables": {"documents": manifest}}
    storage.put("run.json", of_version(state, version))
    return storage


@pytest.mark.parametrize("path", ["../secret.json", "/etc/passwd", "documents/../../secret.json"])
def test_paths_in_a_workspace_do_not_lead_out_of_it(tmp_path, path):
    (tmp_path / "secret.json").write_bytes(snapshot_with("x"))
    workspace_with(tmp_path / "run", path)
    with pytest.raises(WorkspaceError, match="leads out of"):
        open_workspace(str(tmp_path / "run"))
    storage = workspace_with(tmp_path / "run", "documents/k/s/_manifest.json")
    storage.put("documents/k/s/_manifest.json", snapshot_with(path))
    _, _, tables = open_workspace(str(tmp_path / "run"))
    with pytest.raises(WorkspaceError, match="leads out of"):
        storage.open(tables["documents"].files[0].path)


def test_a_model_is_not_read_from_elsewhere(tmp_path):
    (tmp_path / "secret.json").write_bytes(b"{}")
    file = TableFile("model", "artefacts/../../secret.json", 0, 2, "0" * 32)
    with pytest.raises(WorkspaceError, match="leads out of"):
        artefact_path(LocalStorage(tmp_path / "run"), file)


def test_another_schema_version_is_refused_and_both_are_named(tmp_path):
    storage = workspace_with(tmp_path / "run", "m.json", version=SCHEMA_VERSION + 7)
    both = f"version {SCHEMA_VERSION + 7}, this release reads {SCHEMA_VERSION}"
    with pytest.raises(WorkspaceError, match=both):
        read_run(storage)
    storage.put("m.json", snapshot_with("x", SCHEMA_VERSION + 7))
    with pytest.raises(WorkspaceError, match=both):
        read_snapshot(storage, "m.json")


OTHERS = pytest.mark.parametrize("version", [SCHEMA_VERSION + 7, SCHEMA_VERSION - 1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with former states: the recipe was run again with other settings."""
    folder = tmp_path_factory.mktemp("versions")
    corpus = write_corpus(folder / "text", 30)
    for window in (256, 512):
        curate.run(recipe_of(corpus, folder / "run", pack={"window": window}))
    return folder / "run"


def with_version(path: Path, version: int) -> None:
    """Rewrite a JSON file as a release of that schema version would have written it."""
    path.write_bytes(of_version(decode(path.read_bytes(), str(path)), version))


def a_copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.parent, tmp_path / "copy")) / finished.name


@OTHERS
def test_a_former_state_of_another_schema_version_is_refused_and_both_are_named(finished, tmp_path, version, capsys):
    workspace = a_copy(finished, tmp_path)
    with_version(workspace / "history/run-00001.json", version)
    both = f"history/run-00001.json was written with schema version {version}, this release reads {SCHEMA_VERSION}"
    storage = LocalStorage(workspace)
    with pytest.raises(WorkspaceError, match=both):
        history(storage)
    with pytest.raises(WorkspaceError, match=both):
        states(storage, read_run(storage))
    assert main(["clean", str(workspace)]) == 2
    assert both in capsys.readouterr().err


def test_a_damaged_former_state_is_named(finished, tmp_path):
    workspace = a_copy(finished, tmp_path)
    for content in (b"", b"[]", b'{"schema_version": 1}', b"{}", b'{"schema_version": 1, "name": 1, "new": 2}'):
        (workspace / "history/run-00001.json").write_bytes(content)
        with pytest.raises(WorkspaceError, match=r"history/run-00001\.json is damaged"):
            history(LocalStorage(workspace))


@OTHERS
@pytest.mark.parametrize("kept", ["windows/*/*/*.record.json", "artefacts/*/lexical.json"])
def test_records_and_models_of_another_schema_version_are_refused(finished, tmp_path, version, kept):
    """A run of another release was stopped before it committed anything."""
    workspace = a_copy(finished, tmp_path)
    recipe = stored_recipe(str(workspace))
    for committed in ("run.json", "history"):
        path = workspace / committed
        path.unlink() if path.is_file() else shutil.rmtree(path)
    for manifest in workspace.rglob("_manifest.json"):
        manifest.unlink()
    for file in workspace.glob(kept):
        with_version(file, version)
    with pytest.raises(WorkspaceError, match=f"schema version {version}, this release reads {SCHEMA_VERSION}"):
        curate.run(recipe)
