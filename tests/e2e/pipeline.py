"""Running the real program on the generated corpus, and fingerprints of what it wrote."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from curate.tables.workspace import open_workspace
from tests.corpus import recipe_of

TIMEOUT_S = 240


def whole_recipe(folder: Path, workspace: Path | str, **changes: Any) -> dict[str, Any]:
    """A recipe with a task for every stage: also examples, and a selection."""
    queries = Path(folder).parent / "queries.jsonl"
    queries.write_text('{"text": "the ship sails into the harbour before the storm"}\n')
    wanted = {"queries": str(queries), "keep": 0.9}
    return recipe_of(folder, workspace, synthetic={"share": 0.05}, select=wanted, **changes)


def write_recipe(path: Path, recipe: dict[str, Any]) -> Path:
    """The recipe as a file."""
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def curate(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "curate", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert not check or found.returncode == 0, found.stdout + found.stderr
    return found


def kill_when(recipe: Path, wanted: Any, *arguments: str) -> str:
    """Start a run and ``kill -9`` it at the first JSON event for which ``wanted`` is true; returns that event ('' if none)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "curate", "run", str(recipe), "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = ""
    try:
        for line in process.stdout:
            if line.startswith("{") and wanted(line):
                seen = line
                break
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return seen


def shard_bytes(workspace: Path | str) -> dict[str, str]:
    """SHA-256 of every file of the shards, by its name within the set."""
    storage, _, tables = open_workspace(str(workspace))
    found = {}
    for file in tables["shards"].files:
        found[file.name + Path(file.path).suffix] = hashlib.sha256(storage.read(file.path)).hexdigest()
    return found


def table_bytes(workspace: Path | str, table: str) -> dict[str, str]:
    """Checksums of a table's files by name."""
    _, _, tables = open_workspace(str(workspace))
    return {file.name: file.checksum for file in tables[table].files}
