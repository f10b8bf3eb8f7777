"""Texts to compare on: the documents of files and folders, whole and as passages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from curate.engine.opening import open_url
from curate.reading import formats
from curate.reading.folders import is_hidden
from curate.storage.interface import NO_OPTIONS

PASSAGE_BYTES = 4_000


def read(places: Iterable[Path]) -> Iterator[str]:
    """Every readable document of files of a known type, and of such files below folders."""
    for place in places:
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        for path in files:
            below = path.relative_to(place).as_posix()
            if place.is_dir() and (is_hidden(below) or not formats.has_known_type(below)):
                continue
            with open_url(str(path), NO_OPTIONS) as file:
                for batch in formats.read(file, str(path)):
                    yield from batch.texts.to_pylist()


def passages(text: str, most: int = PASSAGE_BYTES) -> list[str]:
    """``text`` cut at ends of paragraphs into passages of at most ``most`` bytes, a longer paragraph at ends of lines, then anywhere."""
    if len(text.encode()) <= most:
        return [text]
    found, at = [], 0
    while at < len(text):
        stop = min(len(text), at + most)
        while len(text[at:stop].encode()) > most:
            stop -= max(1, (len(text[at:stop].encode()) - most) // 4)
        if stop < len(text):
            window = text[at:stop]
            ends = [match.end() for match in re.finditer(r"\n[ \t\r]*\n+", window)] or [window.rfind("\n") + 1]
            stop = at + (ends[-1] or len(window))
        found.append(text[at:stop])
        at = stop
    return [passage for passage in found if passage.strip()]


def distinct(texts: Iterable[str], most_bytes: int) -> list[str]:
    """Distinct texts up to ``most_bytes`` in all, drawn by hash, so that every source gives its share."""
    drawn = sorted({hashlib.blake2b(text.encode(), digest_size=16).digest(): text for text in texts}.items())
    taken, size = [], 0
    for _, text in drawn:
        size += len(text.encode())
        if size > most_bytes:
            break
        taken.append(text)
    return taken
