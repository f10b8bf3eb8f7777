"""Room on the disk, estimated before a first run: said at its start, not when it is half done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from curate.reading import formats
from curate.storage.interface import Storage
from curate.storage.local import LocalStorage

if TYPE_CHECKING:
    from curate.engine.inputs import Inputs
    from curate.recipe import Recipe

EXPANSION = {"gzip": 2.8, "zstd": 4.0}
"""Bytes of text in a byte of a compressed file, about (English prose and documentation)."""

TABLES = 1.4
"""Bytes that all tables and what a stage holds for the time of its work take for a byte of text, about (`benchmarks/scale.py`)."""

SHARDS = 0.3
"""Bytes that each format of the shards takes for a byte of text, about."""


def expansion(url: str) -> float:
    """Bytes of text in a byte of the file at ``url``, by its name."""
    form = formats.format_of(url)
    return EXPANSION[form.compression] if form.compression else formats.READERS.get(form.kind).expansion


def needed_bytes(recipe: Recipe, text_bytes: float) -> int:
    """Bytes that a run over so much text leaves in its workspace or holds there for a time, about."""
    times = 2 if recipe.shards.denoise else 1
    return int(text_bytes * (TABLES + SHARDS * len(recipe.shards.formats) * times))


def free_bytes(storage: Storage) -> int | None:
    """Bytes that are free where a local workspace lies or will lie; None in an object store."""
    if not isinstance(storage, LocalStorage):
        return None
    place: Path = storage.root
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def warning(recipe: Recipe, storage: Storage, found: Inputs) -> str:
    """What to say when the disk is probably too small; empty otherwise."""
    free = free_bytes(storage)
    text = sum(file.size * expansion(file.url) for file in found.files) * (recipe.sample or 1.0)
    needed = needed_bytes(recipe, text)
    if free is None or needed <= free:
        return ""
    return (
        f"warning: the run needs about {needed / 1e9:,.1f} GB in {storage.url}, where {free / 1e9:,.1f} GB are free; "
        "make room, or name a `workspace:` on another disk"
    )
