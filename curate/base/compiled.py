"""How kernels are compiled.

Functions that only other compiled functions call get no wrapper for Python: the wrappers are a third of the time that
compiling takes. (Calling one from Python crashes the process: only kernels are exported to Python code.)

A kernel takes in functions and constants of its neighbours: :mod:`curate.base.kernel_cache` sees to it that none is stale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

_INNER = {"nogil": True, "cache": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}


def inner(function: Function) -> Function:
    """``function``, compiled, callable from other kernels only; it may neither make arrays nor return any.

    Arrays are then not counted as references. numba counts them atomically in every call, which takes longer than most
    of these functions do.
    """
    return njit(_nrt=False, **_INNER)(function)


def tiny(function: Function) -> Function:
    """:func:`inner`, copied into its callers: for what is done for every character or word."""
    return njit(_nrt=False, forceinline=True, **_INNER)(function)


def maker(function: Function) -> Function:
    """:func:`inner` for functions that make or return arrays."""
    return njit(**_INNER)(function)


def kernel(function: Function) -> Function:
    """``function``, compiled, callable from Python."""
    return njit(nogil=True, cache=True, no_cfunc_wrapper=True)(function)
