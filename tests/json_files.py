"""JSON files of a workspace that tests rewrite, with the checksums that they must have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.tables.snapshot import decode, encode


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of run.json, a manifest, a record or the entry of a model in place."""
    content = decode(path.read_bytes(), str(path))
    change(content)
    path.write_bytes(encode(content))
