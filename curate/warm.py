"""Compile every kernel ahead of the first run: ``python -m curate.warm [PROCESSES]``.

Kernels are compiled when they are first called and then kept on disk. Done here, in parallel processes, no worker of
the first run has to wait for it; container images do it while they are built. What there is to compile is what the
tasks of the plan declare.
"""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ProcessPoolExecutor

__all__ = ["warm"]

SHOWN = ("curate.report.map:compile_kernels",)
"""Kernels of what is shown of a run; no task calls them."""


def kernels() -> list[str]:
    """Functions (``module:name``) that compile what the tasks of the plan and the report call."""
    from curate.driver.plan import stages
    from curate.engine.task import task_types

    stages()
    return sorted({*SHOWN, *(function for kind in task_types() for function in kind.kernels)})


def compile_one(function: str) -> None:
    """Call one of :func:`kernels`."""
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)()


def warm(processes: int = 2) -> None:
    """Compile what is not on disk yet."""
    with ProcessPoolExecutor(processes) as pool:
        for future in [pool.submit(compile_one, function) for function in kernels()]:
            future.result()


if __name__ == "__main__":
    warm(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
