"""When a compiled kernel on disk is still right, and where it is kept.

numba looks only at the file of a function to see whether its kernel is still right, but kernels take in functions and
constants of other modules; a stale one gives wrong results without a word. Here a kernel is right while its module and
every module of this package that it imports, directly or not, are unchanged.

numba asks a cache locator; :func:`use_kernel_cache` names ours before numba is imported, without importing it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NUMBA_LOCATORS = ("UserProvidedCacheLocator", "InTreeCacheLocator", "UserWideCacheLocator", "IPythonCacheLocator")
"""numba's own, for kernels that are not of this package."""


def use_kernel_cache() -> None:
    """Let numba ask :class:`curate.kernel_locator.KernelLocator` first, unless the user has chosen locators."""
    os.environ.setdefault(
        "NUMBA_CACHE_LOCATOR_CLASSES", ",".join(("curate.kernel_locator.KernelLocator", *NUMBA_LOCATORS))
    )


def cache_folder() -> Path:
    """``NUMBA_CACHE_DIR`` when set; else in the package where it is writable; else in the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    if os.access(PACKAGE, os.W_OK):
        return PACKAGE / "__pycache__" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "kernels"


def imported_files(path: Path, package: Path = PACKAGE) -> frozenset[Path]:
    """Files of ``package`` that the module in ``path`` imports, at any place in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == package.name:
                module = package.joinpath(*parts[1:])
                found.update(file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())
    return frozenset(found - {package / "__init__.py"})


@functools.cache
def sources_digest(path: Path, package: Path = PACKAGE) -> bytes:
    """Digest of the module in ``path`` and of all that it imports of ``package``, directly or not."""
    seen: set[Path] = set()
    ahead = [path]
    while ahead:
        file = ahead.pop()
        if file not in seen:
            seen.add(file)
            ahead.extend(imported_files(file, package))
    state = hashlib.blake2b(digest_size=16)
    for file in sorted(seen):
        source = file.read_bytes()
        state.update(f"{file.name}:{len(source)};".encode() + source)
    return state.digest()
