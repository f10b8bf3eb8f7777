"""The layers: algorithms know neither Ray nor storage, and importing the package stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "curate"
FOLDERS = ("reading", "quality", "dedup", "relate", "lengths", "packing", "shards")
NOT_ALGORITHMS = {"stage", "inputs", "without"}


def algorithms() -> list[str]:
    """Modules of the algorithm half: everything in the topic folders but stages, takedowns and what looks at inputs."""
    found = []
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if path.stem not in NOT_ALGORITHMS and not path.stem.endswith("_stage"):
                module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
                found.append(module.removesuffix(".__init__"))
    return found


def imported(statement: str) -> set[str]:
    """Top-level names and curate modules that are loaded after ``statement``."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.split())


def test_algorithms_import_neither_ray_nor_the_run_half():
    modules = algorithms()
    assert len(modules) > 40
    loaded = imported("import " + ", ".join(modules))
    assert "ray" not in loaded
    assert not {name for name in loaded if name.startswith("curate.run")}
    assert not {name for name in loaded if name.startswith("curate.inspect")}


@pytest.mark.parametrize("module", ["curate", "curate.cli"])
def test_the_surface_is_light(module):
    loaded = imported(f"import {module}")
    assert not loaded & {"ray", "numba", "polars", "pyarrow", "numpy", "pandas", "boto3"}


def test_workers_do_not_load_what_they_do_not_need():
    assert "polars" not in imported("import curate.engine.tasks, curate.driver.plan; curate.driver.plan.stages()")
