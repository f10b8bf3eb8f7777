"""How kernels are compiled.

Functions that only other compiled functions call get no wrapper for Python: the wrappers are a third of the time that
compiling takes. (Calling one from Python crashes the process: only kernels are exported to Python code.)

numba's cache on disk looks at the file of a function alone, but kernels here take in functions and constants of their
neighbours; a stale kernel once wrote past its arrays. So the stamp under which a kernel is cached covers all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])


def _sources() -> tuple[tuple[str, float, int], ...]:
    """(name, modification time, size) of every file that a kernel of this package may take in."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), here.parent / "text.py"]
    return tuple((path.name, path.stat().st_mtime, path.stat().st_size) for path in files)


_STAMP = _sources()


def _compiled(function: Function, **options: bool) -> Function:
    dispatcher = njit(nogil=True, cache=True, no_cfunc_wrapper=True, **options)(function)
    # numba has no public way to say what a cached function depends on.
    cache_file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if cache_file is not None and hasattr(cache_file, "_source_stamp"):
        cache_file._source_stamp = _STAMP
    return dispatcher


def inner(function: Function) -> Function:
    """``function``, compiled, callable from other kernels only."""
    return _compiled(function, no_cpython_wrapper=True)


def kernel(function: Function) -> Function:
    """``function``, compiled, callable from Python."""
    return _compiled(function)


def read_only(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Views that cannot be written: numba compiles a kernel anew for arrays that can, and Arrow's come as both."""
    data, offsets = data.view(), offsets.view()
    data.flags.writeable = offsets.flags.writeable = False
    return data, offsets
