"""The cache locator that numba asks: see :mod:`curate.base.kernel_cache`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import _CacheLocator

from curate.base.kernel_cache import PACKAGE, cache_folder, sources_digest


class KernelLocator(_CacheLocator):
    """Places and stamps of this package's kernels."""

    def __init__(self, function: Callable[..., Any], path: Path) -> None:
        self._path = path
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """A folder for each folder of sources, so that two checkouts can share NUMBA_CACHE_DIR."""
        return str(cache_folder() / self.get_suitable_cache_subpath(str(self._path)))

    def get_source_stamp(self) -> bytes:
        """What the compiled kernel depends on."""
        return sources_digest(self._path)

    def get_disambiguator(self) -> str:
        """Tells functions of one name apart."""
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> KernelLocator | None:
        """None for functions that are not of this package: numba asks its next locator."""
        file = Path(path).resolve()
        if PACKAGE not in file.parents:
            return None
        locator = cls(function, file)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator
