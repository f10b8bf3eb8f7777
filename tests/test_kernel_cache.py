"""Compiled kernels of other sources are never used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

from curate.base.kernel_cache import PACKAGE, imported_files, sources_digest


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
        imported_files.cache_clear()
        return sources_digest(package / "kernel.py", package)

    before = digest()
    (package / "other.py").write_text("y = 2\n")
    assert digest() == before
    (package / "far.py").write_text("x = 2\n")
    assert digest() != before


def parsed(path, package):
    """What a parser says is imported."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        files = [package.parent.joinpath(*name.split(".")) for name in names]
        found |= {one for file in files for one in (file.with_suffix(".py"), file / "__init__.py") if one.is_file()}
    return {file for file in found if package in file.parents} - {package / "__init__.py"}


def test_every_import_is_seen():
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200
    for path in modules:
        assert parsed(path, PACKAGE) <= imported_files(path), path


def test_imports_are_seen_in_every_form(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for name in ("one", "two", "three", "four", "five", "six"):
        (package / f"{name}.py").write_text("")
    (package / "kernel.py").write_text(
        "from package import (  # (as a module)\n    one,\n    two as other,  # for now)\n)\n"
        "import os, package.three\nif True:\n\timport package.four as x  # noqa\nfrom package.five import (f)\n"
        "from package import six # noqa: F401\n"
    )
    assert imported_files(package / "kernel.py", package) == parsed(package / "kernel.py", package)
    assert len(imported_files(package / "kernel.py", package)) == 6


def test_kernels_lie_in_the_folder_that_the_user_names(tmp_path):
    code = """
import numpy as np
from curate.packing.packers.concat import concat
from numba import njit
concat(np.array([3, 9]), 8)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.check_call([sys.executable, "-c", code], env=environment)
    assert [path.parent.name.split("_")[0] for path in tmp_path.rglob("*.nbi")] == ["packers"]
