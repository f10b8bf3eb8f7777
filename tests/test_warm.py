"""Kernels are compiled ahead: what `python -m curate.warm` calls is what a run calls, in the same forms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from curate.driver.execute import run_recipe
from curate.recipe.file import from_dict
from curate.warm import compile_one, kernels
from tests.golden import recipe, write_inputs

def forms():
    found = (one for one in gc.get_objects() if isinstance(one, Dispatcher))
    return {
        f"{one.py_func.__module__}.{one.py_func.__qualname__}{signature}"
        for one in found
        if one.py_func.__module__.startswith("curate.")
        for signature in one.signatures
    }

for function in kernels():
    compile_one(function)
ready = forms()
folder = Path(sys.argv[1])
made = recipe(write_inputs(folder / "text"), folder / "run")
made |= {"shards": {"formats": ["parquet", "mds", "megatron", "numpy", "webdataset"], "validation": {"share": 0.1}}}
run_recipe(from_dict(made, folder))
print(*sorted(forms() - ready), sep="\\n")
"""


@pytest.mark.slow
def test_a_run_compiles_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.split() == []
