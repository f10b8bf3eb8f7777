"""Compiled kernels of other sources are never used."""

from __future__ import annotations

import os
import subprocess
import sys

from curate.kernel_cache import imported_files, sources_digest


def test_a_kernel_depends_on_what_its_module_imports_and_on_nothing_else(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "kernel.py").write_text("def f():\n    from package.near import helper\n")
    (package / "near.py").write_text("import package.far\nfrom os import path\n")
    (package / "far.py").write_text("x = 1\n")
    (package / "other.py").write_text("y = 1\n")
    assert imported_files(package / "kernel.py", package) == {package / "near.py"}

    def digest() -> bytes:
        sources_digest.cache_clear()
        return sources_digest(package / "kernel.py", package)

    before = digest()
    (package / "other.py").write_text("y = 2\n")
    assert digest() == before
    (package / "far.py").write_text("x = 2\n")
    assert digest() != before


def test_kernels_lie_in_the_folder_that_the_user_names(tmp_path):
    code = """
import numpy as np
from curate.packing.concat import concat
from numba import njit
concat(np.array([3, 9]), 8)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.check_call([sys.executable, "-c", code], env=environment)
    assert [path.name.split("_")[0] for path in tmp_path.iterdir()] == ["packing"]
    assert list(tmp_path.rglob("*.nbi"))
