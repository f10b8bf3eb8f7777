"""Real documents for benchmarks: the texts of a folder, cut at paragraph ends into passages of bounded size."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import zstandard

VERSIONED = 32
"""Characters at the beginning of a passage that decide whether it is taken: versions of a page are taken together."""


def texts_of_file(path: Path) -> Iterator[str]:
    """Texts of a JSONL file (plain or .zst), a Parquet file (column ``text``), or the one text of a .txt or .md file."""
    name = path.name
    if name.endswith((".jsonl", ".jsonl.zst")):
        with path.open("rb") as raw:
            stream: Any = zstandard.ZstdDecompressor().stream_reader(raw) if name.endswith(".zst") else raw
            for line in io.TextIOWrapper(stream, encoding="utf-8"):
                yield json.loads(line)["text"]
    elif name.endswith(".parquet"):
        yield from pq.read_table(path, columns=["text"])["text"].to_pylist()
    elif name.endswith((".txt", ".md")):
        yield path.read_text(encoding="utf-8", errors="replace")


def texts_of(folder: Path) -> Iterator[str]:
    """Texts of every file below ``folder`` that :func:`texts_of_file` reads, by path."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file():
            yield from texts_of_file(path)


def cut(text: str, limit: int) -> Iterator[str]:
    """Passages of at most ``limit`` UTF-8 bytes that end with a paragraph, or with a word where one is longer."""
    held: list[str] = []
    size = 0
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        length = len(paragraph.encode()) + 2
        if held and size + length > limit:
            yield "\n\n".join(held)
            held, size = [], 0
        while length > limit:
            head = paragraph.encode()[: limit - 2].decode(errors="ignore")
            head = head[: head.rfind(" ")] if " " in head else head
            yield head
            paragraph = paragraph[len(head) :].lstrip()
            length = len(paragraph.encode()) + 2
        if paragraph.strip():
            held.append(paragraph)
            size += length
    if held:
        yield "\n\n".join(held)


def passages(folder: Path, limit: int, count: int, least: int = 200) -> list[str]:
    """``count`` passages of ``least`` to ``limit`` bytes in their order, chosen by a hash of their first characters.

    Raises:
        SystemExit: the folder has fewer.
    """
    found = [passage for text in texts_of(folder) for passage in cut(text, limit) if len(passage) >= least]
    if len(found) < count:
        raise SystemExit(f"{folder} has {len(found):,} passages of at most {limit:,} bytes; {count:,} are wanted")
    keys = [hashlib.blake2b(one[:VERSIONED].encode(), digest_size=8).digest() for one in found]
    taken = sorted(sorted(range(len(found)), key=lambda i: (keys[i], i))[:count])
    return [found[i] for i in taken]
