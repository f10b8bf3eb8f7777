"""How kernels are compiled.

Functions that only other compiled functions call get no wrapper for Python: the wrappers are a third of the time that
compiling takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def inner(function: Function) -> Function:
    """``function``, compiled, callable from other kernels only."""
    return njit(nogil=True, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)  # type: ignore[no-any-return]


def kernel(function: Function) -> Function:
    """``function``, compiled, callable from Python."""
    return njit(nogil=True, cache=True, no_cfunc_wrapper=True)(function)  # type: ignore[no-any-return]
