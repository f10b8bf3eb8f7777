"""When a compiled kernel on disk is still right, and where it is kept.

numba looks only at the file of a function to see whether its kernel is still right, but kernels take in functions and
constants of other modules; a stale one gives wrong results without a word. Here a kernel is right while its module and
every module of this package that it imports, directly or not, are unchanged.

numba asks a cache locator; :func:`use_kernel_cache` names ours before numba is imported, without importing it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
NUMBA_LOCATORS = ("UserProvidedCacheLocator", "InTreeCacheLocator", "UserWideCacheLocator", "IPythonCacheLocator")
"""numba's own, for kernels that are not of this package."""


def use_kernel_cache() -> None:
    """Let numba ask :class:`curate.base.kernel_locator.KernelLocator` first, unless the user has chosen locators."""
    os.environ.setdefault(
        "NUMBA_CACHE_LOCATOR_CLASSES", ",".join(("curate.base.kernel_locator.KernelLocator", *NUMBA_LOCATORS))
    )


def cache_folder() -> Path:
    """``NUMBA_CACHE_DIR`` when set; else in the package where it is writable; else in the user's cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    if os.access(PACKAGE, os.W_OK):
        return PACKAGE / "__pycache__" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curate" / "kernels"


_NAMES = r"\((?:[^)#]|#[^\n]*)*\)|[^\n#]*"
_IMPORT = re.compile(rf"^\s*(?:from\s+([\w.]+)\s+import\s+({_NAMES})|import\s+([^\n#]*))", re.MULTILINE)
_COMMENT = re.compile(r"#[^\n]*")


@functools.cache
def imported_files(path: Path, package: Path = PACKAGE) -> frozenset[Path]:
    """Files of ``package`` that the module in ``path`` imports, at any place in it.

    Statements are found by their form, as every worker looks through the sources when it starts: parsing them took a
    second. What only looks like one, as in a docstring, makes a kernel depend on more than it has to.
    """
    found: set[Path] = set()
    for module, members, modules in _IMPORT.findall(path.read_text(encoding="utf-8")):
        names = [
            name.split()[0] for name in _COMMENT.sub("", members or modules).strip("() \n").split(",") if name.strip()
        ]
        for name in [module, *(f"{module}.{name}" for name in names)] if module else names:
            parts = name.split(".")
            if parts[0] == package.name:
                file = package.joinpath(*parts[1:])
                found.update(one for one in (file.with_suffix(".py"), file / "__init__.py") if one.is_file())
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
