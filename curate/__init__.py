"""Curate: from raw text to ordered, packed, long-context training shards, every token and every removal explained."""

from curate.api import open_run as open
from curate.api import run
from curate.errors import CurateError

__version__ = "0.1.0"

__all__ = ["CurateError", "__version__", "open", "run"]
