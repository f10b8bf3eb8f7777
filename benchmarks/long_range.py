"""The signals of long texts, on texts that belong together and on such that do not.

    .venv/bin/python -m benchmarks.long_range books.jsonl.zst short.jsonl.zst [more.jsonl.zst …]

The first file has long texts; stretches of them are compared with distinct short texts (of at most 8,000 characters) of
each other file, joined to the same length, with pieces of many long texts joined, and with texts that repeat themselves.
Drawn by a seed. Each cell: median, 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.quality import read
from curate.quality.grams import long_range
from curate.quality.signals import measure

SIZES = (40_000, 100_000, 300_000)
SIGNALS = ("rare_recurrence", "long_range_gain", "compression_ratio")
MOST = 60
"""Texts of a row."""

Texts = list[str]


def stretch(rng: random.Random, text: str, size: int) -> str:
    """Part of a text from anywhere."""
    start = rng.randrange(max(1, len(text) - size))
    return text[start : start + size]


def joined(parts: Texts, size: int) -> str:
    """The first parts until there are enough."""
    found, length = [], 0
    for part in parts:
        found.append(part)
        length += len(part) + 2
        if length >= size:
            break
    return "\n\n".join(found)[:size]


def rows(rng: random.Random, books: Texts, short: dict[str, Texts], size: int) -> dict[str, Texts]:
    """The texts of each row of the table."""
    long = [text for text in books if len(text) >= size][:MOST]
    count = range(MOST)
    made = {"stretches of the long texts": [stretch(rng, text, size) for text in long]}
    for name, texts in short.items():
        made[f"{name}, joined"] = [joined(rng.sample(texts, len(texts)), size) for _ in count]
    for piece in (2_000, 8_000):
        pieces = [[stretch(rng, rng.choice(books), piece) for _ in range(size // piece + 1)] for _ in count]
        made[f"pieces of {piece:,} of the long texts, joined"] = [joined(some, size) for some in pieces]
    made["half a stretch, twice"] = [joined([stretch(rng, text, size // 2)] * 2, size) for text in long]
    doubled = [[part for part in some for _ in range(2)] for some in pieces]
    made["pieces of 8,000, each twice"] = [joined(some, size) for some in doubled]
    made["a page of 5,000 again and again"] = [
        joined([stretch(rng, text, 5_000)] * (size // 5_000), size) for text in long
    ]
    return made


def main() -> None:
    """Prints a table for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", type=Path)
    parser.add_argument("short", type=Path, nargs="+")
    parser.add_argument("--field", default="text")
    options = parser.parse_args()
    rng = random.Random(0)
    books = read(options.books, options.field)
    short = {
        path.name.partition(".")[0]: [text for text in read(path, options.field) if len(text) <= 8_000]
        for path in options.short
    }
    for size in SIZES:
        print(f"\n| {size:,} characters | texts | " + " | ".join(f"`{name}`" for name in SIGNALS) + " |")
        print("|---|---:|" + "---|" * len(SIGNALS))
        for name, texts in rows(rng, books, short, size).items():
            column = pa.array(texts, pa.large_string())
            values = {"rare_recurrence": measure(column)["rare_recurrence"].to_numpy(), **long_range(column)}
            cells = ["{:.2f} ({:.2f}–{:.2f})".format(*np.nanquantile(values[s], (0.5, 0.1, 0.9))) for s in SIGNALS]
            print(f"| {name} | {len(texts)} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
