"""Curate: from raw text to ordered, packed, long-context training shards, every token and every removal explained.

Public, besides the command ``curate``, are the names listed in ``__all__``, :mod:`curate.torch` (shards as PyTorch samples)
and :mod:`curate.warm` (kernels compiled before the first run). All other modules are private: they may change with any
release.
"""

from typing import TYPE_CHECKING

from curate.base.kernel_cache import use_kernel_cache
from curate.base.threads import keep_freed_memory

use_kernel_cache()
keep_freed_memory()

from curate.api import open_run as open  # noqa: E402
from curate.api import remove, run  # noqa: E402
from curate.base.errors import CurateError  # noqa: E402
from curate.base.versions import __version__  # noqa: E402

if TYPE_CHECKING:
    from curate.engine.progress import Progress
    from curate.finished_run import Run
    from curate.recipe import Recipe

__all__ = ["CurateError", "Progress", "Recipe", "Run", "__version__", "open", "remove", "run"]


def __getattr__(name: str) -> object:
    """A class, loaded on first use so that ``import curate`` stays light."""
    from importlib import import_module

    modules = {"Progress": "curate.engine.progress", "Recipe": "curate.recipe", "Run": "curate.finished_run"}
    if name not in modules:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    return getattr(import_module(modules[name]), name)
