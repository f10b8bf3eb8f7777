"""Where compiled kernels are kept: a folder for each state of the sources.

numba looks only at the file of a function to see whether its kernel is still right, but kernels take in functions and
constants of other modules; a stale one gives wrong results without a word. So the folder's name is a digest of the
source files, and it must be set before numba is imported.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

NO_KERNELS = ("run", "look", "reading")
"""Folders without a kernel; neither have the stages, which are edited more often."""


def sources_digest(package: Path) -> str:
    """Hex digest of names, sizes and modification times of the source files that kernels can take in."""
    state = hashlib.blake2b(digest_size=8)
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(set(folders) - set(NO_KERNELS))
        for name in sorted(names):
            if name.endswith(".py") and not name.endswith("stage.py"):
                status = os.stat(os.path.join(folder, name))
                state.update(
                    f"{os.path.relpath(folder, package)}/{name}:{status.st_size}:{status.st_mtime_ns};".encode()
                )
    return state.hexdigest()


def use_kernel_cache() -> None:
    """Point numba at the folder, unless NUMBA_CACHE_DIR is set: in the package where it is writable, else in the user's cache."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    package = Path(__file__).resolve().parent
    if os.access(package, os.W_OK):
        root = package / "__pycache__"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate"
    os.environ["NUMBA_CACHE_DIR"] = str(root / f"kernels-{sources_digest(package)}")
