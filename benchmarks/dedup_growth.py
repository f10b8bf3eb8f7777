"""Cost of deduplication as the corpus grows: synthetic documents, ingest to duplicates, one process.

    python benchmarks/dedup_growth.py [--sizes 100000 1000000] [--markdown]

A tenth of the documents are exact copies of others and a fifth near copies (some words changed). Processor seconds of
the run (compiling aside) and the highest resident memory of its process; the last column is the cost of a document over
that in the first line: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from dedup import table

WORDS = 60
VOCABULARY = 50_000
CHANGED = 1
"""Words that differ in a near copy: about 0.85 of the 5-grams stay."""


def write(path: Path, count: int) -> None:
    """``count`` documents as JSONL."""
    rng = np.random.default_rng(1)
    vocabulary = np.array(["".join(chr(97 + c) for c in row) for row in rng.integers(0, 26, (VOCABULARY, 7))])
    with path.open("w") as file:
        recent = rng.integers(0, VOCABULARY, (1_000, WORDS))
        for start in range(0, count, 1_000):
            words = rng.integers(0, VOCABULARY, (1_000, WORDS))
            kind = rng.random(1_000)
            copied = kind < 0.3
            words[copied] = recent[rng.integers(0, 1_000, copied.sum())]
            near = np.flatnonzero(kind < 0.2)
            words[near, rng.integers(0, WORDS, len(near))] = rng.integers(0, VOCABULARY, len(near))
            recent = words if start % 10_000 == 0 else recent
            for i, row in enumerate(vocabulary[words]):
                file.write(f'{{"id": "{start + i}", "text": "{" ".join(row)}"}}\n')


def run(source: Path, workspace: Path) -> None:
    """One run in this process; prints its cost as JSON."""
    from curate.api import as_recipe
    from curate.driver.execute import run_recipe

    few = workspace.with_suffix(".jsonl")
    with source.open() as file:
        few.write_text("".join(line for line, _ in zip(file, range(200), strict=False)))

    def recipe(path: Path, name: str) -> dict[str, object]:
        inputs = [{"source": "texts", "path": str(path)}]
        place = str(workspace / name)
        settings = {"engine": "inline", "ingest": {"partition_bytes": 32_000_000}, "quality": "off"}
        return {"workspace": place, "inputs": inputs, **settings}

    run_recipe(as_recipe(recipe(few, "few")), stop_after="dedup")
    cpu = sum(os.times()[:2])
    outcome = run_recipe(as_recipe(recipe(source, "all")), stop_after="dedup")
    cost = {
        "cpu": sum(os.times()[:2]) - cpu,
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "removed": outcome.tables["duplicates"].rows,
    }
    print(json.dumps(cost))


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--run", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run)
        return
    rows = [("documents", "removed", "CPU seconds", "documents a CPU second", "memory", "cost of a document")]
    first = 0.0
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "texts.jsonl"
            write(source, size)
            command = [sys.executable, __file__, "--run", str(source), str(Path(folder) / "runs")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        cost = json.loads(done.stdout.strip().splitlines()[-1])
        first = first or cost["cpu"] / size
        speed, memory = f"{size / cost['cpu']:,.0f}", f"{cost['bytes'] / 1e6:,.0f} MB"
        relative = f"{cost['cpu'] / size / first:.2f}"
        rows.append((f"{size:,}", f"{cost['removed']:,}", f"{cost['cpu']:.1f}", speed, memory, relative))
    table(rows, options.markdown)


if __name__ == "__main__":
    main()
