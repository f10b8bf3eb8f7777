"""The catalogue agrees with the plan."""

from __future__ import annotations

import subprocess
import sys

from curate.base import catalog
from curate.base.catalog import OF_WORKSPACE, PIECE_KINDS, STAGES, TABLES, WRITTEN_BY_RUNS
from curate.driver.plan import stages


def test_importing_it_loads_no_arrays() -> None:
    code = "import sys, curate.base.catalog; print(sorted({'numpy', 'pyarrow'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_stage_writes_the_tables_that_the_catalogue_gives_it() -> None:
    assert tuple(dict.fromkeys(stage.name for stage in stages())) == STAGES
    for name in STAGES:
        written = [table for stage in stages() if stage.name == name for table in stage.writes]
        assert sorted(written) == sorted(table.name for table in TABLES.values() if table.stage == name)
    assert {table.name for table in TABLES.values() if table.stage not in STAGES} == {*OF_WORKSPACE}


def test_kinds_of_pieces_are_numbered_without_a_gap() -> None:
    constants = [value for name, value in vars(catalog).items() if name.startswith("KIND_")]
    assert sorted(constants) == sorted(PIECE_KINDS) == list(range(len(PIECE_KINDS)))


def test_files_of_runs_are_told_from_those_of_others() -> None:
    key = "0123456789abcdef"
    for path in (
        f"tokens/{key}/x.parquet",
        f"artefacts/{key}/x.json",
        "history/run-00001.json",
        "tmp/x",
        "a/.b.partial",
    ):
        assert WRITTEN_BY_RUNS.match(path), path
    for path in ("run.json", "lease.json", "inputs/marks.json", "recipe.yaml", f"notes/{key}/x", "tokens/x.parquet"):
        assert not WRITTEN_BY_RUNS.match(path), path
