"""Compiled kernels of other sources are never used."""

from __future__ import annotations

import os
import subprocess
import sys

from curate.kernel_cache import sources_digest


def test_the_folder_changes_with_any_source(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "inner" / "b.py").write_text("y = 1")
    before = sources_digest(tmp_path)
    assert sources_digest(tmp_path) == before
    (tmp_path / "inner" / "b.py").write_text("y = 22")
    after = sources_digest(tmp_path)
    assert after != before
    (tmp_path / "notes.txt").write_text("no source")
    assert sources_digest(tmp_path) == after


def test_a_folder_of_the_user_is_respected():
    code = "import curate, os; print(os.environ['NUMBA_CACHE_DIR'])"
    given = {**os.environ, "NUMBA_CACHE_DIR": "/somewhere"}
    assert subprocess.check_output([sys.executable, "-c", code], env=given, text=True).strip() == "/somewhere"
    unset = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    assert "kernels-" in subprocess.check_output([sys.executable, "-c", code], env=unset, text=True)
