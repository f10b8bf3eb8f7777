"""Curate: from raw text to ordered, packed, long-context training shards, every token and every removal explained."""

from curate.base.kernel_cache import use_kernel_cache
from curate.base.threads import keep_freed_memory

use_kernel_cache()
keep_freed_memory()

from curate.api import open_run as open  # noqa: E402
from curate.api import remove, run  # noqa: E402
from curate.base.errors import CurateError  # noqa: E402
from curate.base.versions import __version__  # noqa: E402

__all__ = ["CurateError", "__version__", "open", "remove", "run"]
