"""Orders of labelled corpora: how related are neighbours on the path, and documents that share a window of 16?

    python benchmarks/ordering.py CORPUS.jsonl.zst … [--limit N] [--last-of FIELD] [--markdown]

A corpus is JSONL (.zst or plain) with `text` and, for the label columns, `label`. `--last-of FIELD` keeps the last
record of each value of FIELD (the newest version of a page). Everything is done in one process, in one region.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard

from curate.relate import lexical, measures
from curate.relate.neighbors import Neighbors, neighbors
from curate.relate.paths import find_path, icp, related
from curate.relate.similarity import Vectors, cosine

MAX_SIMILARITY = 0.95
WINDOW = 16
ORDERS = ("random", "source", "icp", "cover", "related")
COLUMNS = ("order", "path/bound", "adjacent", "label", "win16", "label in win16", "neighbours", "leaks", "jumps", "s")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file."""
    with path.open("rb") as raw:
        stream: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def load(path: Path, limit: int | None, last_of: str | None) -> tuple[pa.Array, list[str]]:
    """(texts, labels) of a corpus, in the file's order."""
    kept: dict[Any, dict[str, Any]] = {}
    for number, record in enumerate(records(path)):
        kept[record[last_of] if last_of else number] = record
    rows = list(kept.values())[:limit]
    return pa.array([row["text"] for row in rows], pa.large_string()), [str(row.get("label", "")) for row in rows]


def nearest_label(vectors: Vectors, labels: list[str]) -> float:
    """Share of the documents whose nearest neighbour has their label."""
    first = neighbors(vectors, 1, MAX_SIMILARITY).ids[:, 0]
    known, label = first >= 0, np.array(labels)
    return float(np.mean(label[first[known]] == label[known])) if known.any() else 0.0


def row(
    name: str, path: np.ndarray, vectors: Vectors, found: Neighbors, labels: list[str], seconds: float
) -> list[str]:
    """One line of the table."""
    steps = measures.summarise([measures.path_counts(path, vectors, found.ids, found.similarity, MAX_SIMILARITY)])
    window = measures.windows_of_path(path, WINDOW)
    inside = measures.window_measures(window, vectors, found.ids, MAX_SIMILARITY)
    values = (
        f"{steps['path_share']:.3f}", f"{steps['adjacent']:.3f}", f"{measures.same_label(path, labels):.3f}",
        f"{inside.pairs:.3f}", f"{measures.same_label_in_window(window, labels):.3f}", f"{inside.with_neighbor:.3f}",
        f"{inside.near_duplicates}", f"{steps['jumps']:.3f}", f"{seconds:.2f}",
    )  # fmt: skip
    return [name, *values]


def table(rows: list[list[str]], markdown: bool) -> str:
    """The rows under their headings."""
    if markdown:
        return "\n".join("| " + " | ".join(line) + " |" for line in [list(COLUMNS), ["---"] * len(COLUMNS), *rows])
    widths = [max(len(line[c]) for line in [list(COLUMNS), *rows]) for c in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)) for line in [list(COLUMNS), *rows]
    )


def measure(path: Path, limit: int | None, last_of: str | None, markdown: bool) -> None:
    """Prints one corpus's table."""
    texts, labels = load(path, limit, last_of)
    began = time.perf_counter()
    model = lexical.fit(texts)
    fitted = time.perf_counter()
    vectors, _ = model.transform(texts)
    embedded = time.perf_counter()
    found = neighbors(vectors, 20, MAX_SIMILARITY)
    searched = time.perf_counter()
    megabytes = sum(len(t.as_py().encode()) for t in texts) / 1e6
    print(
        f"\n{path.name}: {len(texts):,} documents, {megabytes:.1f} MB, {len(set(labels))} labels; fit {fitted - began:.1f} s, "
        f"transform {megabytes / (embedded - fitted):.0f} MB/s, neighbours {searched - embedded:.2f} s; nearest document of "
        f"the same label {nearest_label(vectors, labels):.3f}; ceiling of win16 {measures.ceiling(found.similarity, WINDOW):.3f}\n"
    )
    ids = np.arange(len(texts), dtype=np.uint64)
    rows = []
    for name in ORDERS:
        began = time.perf_counter()
        if name == "cover":
            order = related(vectors, found.ids, found.similarity, ids, max_similarity=MAX_SIMILARITY, kicks=0)
        else:
            order, _ = find_path(name, vectors, found, ids, sources=labels, max_similarity=MAX_SIMILARITY)
        seconds = time.perf_counter() - began
        label = {"source": "by label", "cover": "related, no kicks"}.get(name, name)
        rows.append(row(label, order, vectors, found, labels, seconds))
    print(table(rows, markdown))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="+", type=Path, help="JSONL files with text and label")
    parser.add_argument("--limit", type=int, help="documents of each corpus")
    parser.add_argument("--last-of", metavar="FIELD", help="keep the last record of each value of this field")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    arguments = parser.parse_args()
    warm = np.eye(8, dtype=np.int8)
    icp(warm, *neighbors(warm, 3)[:2], np.arange(8, dtype=np.uint64))  # compile outside of the timings
    related(warm, *neighbors(warm, 3)[:2], np.arange(8, dtype=np.uint64))
    lexical.fit(["two words", "two others"], dim=4).transform(["two"])
    cosine(warm, warm)
    for path in arguments.corpus:
        measure(path, arguments.limit, arguments.last_of, arguments.markdown)


if __name__ == "__main__":
    main()
