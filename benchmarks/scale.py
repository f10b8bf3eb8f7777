"""A rehearsal at scale on one machine: synthetic documents through every stage, and what each has cost.

    python benchmarks/scale.py 100000 [--bytes 1000] [--engine ray] [--like WORKSPACE] [--work DIR]

Texts are made on the fly by hashes of their number: topics, one in 50 an exact copy and one in 20 a near copy of an earlier
document. Processor time, bytes, requests and peak memory are those that the tasks note themselves. With ``--like``, the
capacity plan for this size, made from a smaller run, is printed beside what was measured.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1"}

import numpy as np
import zstandard

from curate.api import as_recipe
from curate.driver.execute import run_recipe
from curate.engine.progress import PlainProgress
from curate.planning.check import capacity
from curate.planning.costs import Costs, costs_of
from curate.storage.usage import Usage
from curate.warm import warm

FILE_DOCUMENTS = 50_000
WORDS = 60_000
TOPICS = 2_000
COMMON = "the and of to that with be have in is it for on was as by at from this are".split()


@functools.cache
def vocabulary() -> np.ndarray:
    """Made-up words of two to four syllables; the first ones are common English words, which the quality rules count."""
    syllables = np.array([c + v for c in "bdfgklmnprstvz" for v in "aeiou"])
    draw = np.random.default_rng(0)
    parts = syllables[draw.integers(0, len(syllables), (WORDS, 4))]
    lengths = draw.integers(2, 5, WORDS)
    return np.array(COMMON + ["".join(row[:n]) for row, n in zip(parts, lengths, strict=True)][len(COMMON) :])


def write_file(path: Path, first: int, count: int, size: int) -> int:
    """Documents ``first`` to ``first + count`` as JSON lines; their bytes of text."""
    words = vocabulary()
    total, texts = 0, []
    draw = np.random.default_rng(first)
    with zstandard.open(path, "wt", encoding="utf-8") as file:
        for number in range(first, first + count):
            if texts and number % 50 == 7:
                text = texts[int(draw.integers(len(texts)))]
            elif texts and number % 20 == 3:
                text = texts[int(draw.integers(len(texts)))] + " " + " ".join(words[draw.integers(0, WORDS, 8)])
            else:
                n = max(60, int(draw.lognormal(np.log(size / 6.5), 0.6)))
                topic = int(draw.integers(TOPICS))
                common = np.minimum(draw.zipf(1.3, n) - 1, len(COMMON) - 1)
                own = (topic * 29 + draw.zipf(1.2, n)) % (WORDS - len(COMMON)) + len(COMMON)
                kind = draw.random(n)
                anything = draw.integers(len(COMMON), WORDS, n)
                chosen = words[np.where(kind < 0.4, common, np.where(kind < 0.7, own, anything))]
                chosen[11::12] = np.char.add(chosen[11::12], ".")
                text = " ".join(chosen)
            if len(texts) < 2_000:
                texts.append(text)
            total += len(text)
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    return total


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as Markdown."""
    print("\n| " + " | ".join(head) + " |\n|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def totals(costs: Costs) -> dict[str, Usage]:
    """What every stage has used."""
    return {stage: sum(steps.values(), Usage()) for stage, steps in costs.stages.items()}


def print_costs(costs: Costs, seconds: dict[str, float]) -> None:
    """What every stage has cost, a line each."""
    head = ("stage", "tasks", "processor s", "wall s", "read MB", "written MB", "requests", "peak MB")
    rows = []
    for stage, used in totals(costs).items():
        rows.append(
            (
                stage,
                f"{used.tasks:,}",
                f"{used.seconds:,.1f}",
                f"{seconds[stage]:,.1f}",
                f"{used.read / 1e6:,.1f}",
                f"{used.written / 1e6:,.1f}",
                f"{used.gets + used.puts:,}",
                f"{used.peak / 1e6:,.0f}",
            )
        )
    table(head, rows)
    whole = sum(totals(costs).values(), Usage())
    print(
        f"\nall: {whole.seconds:,.1f} processor seconds, {sum(seconds.values()):,.1f} s, {whole.read / 1e6:,.0f} MB read, "
        f"{whole.written / 1e6:,.0f} MB written, {whole.gets + whole.puts:,} requests, a task at most {whole.peak / 1e6:,.0f} MB"
    )


def print_plan(plan: dict[str, Any], costs: Costs, seconds: dict[str, float]) -> None:
    """Planned over measured: sizes, then by stage what it uses."""
    names = ("documents", "text_bytes", "kept", "tokens", "windows", "partitions", "regions", "shards")
    table(
        ("size", "planned", "measured", "ratio"),
        [
            (n, f"{plan['sizes'][n]:,.0f}", f"{costs.sizes[n]:,.0f}", ratio(plan["sizes"][n], costs.sizes[n]))
            for n in names
        ],
    )
    rows, sums = [], [[0.0, 0.0] for _ in range(5)]
    measured = totals(costs)
    for row in plan["stages"]:
        used = measured[row["stage"]]
        pairs = [
            (row["processor_seconds"], used.seconds),
            (row["seconds"], seconds[row["stage"]]),
            (row["read"], used.read),
            (row["written"], used.written),
            (row["gets"] + row["puts"], used.gets + used.puts),
        ]
        for both, pair in zip(sums, pairs, strict=True):
            both[0] += pair[0]
            both[1] += pair[1]
        rows.append((row["stage"], *(ratio(*pair) for pair in pairs), ratio(row["memory_of_a_task"], used.peak)))
    rows.append(("all", *(ratio(*both) for both in sums), ""))
    table(("planned / measured", "processor s", "wall s", "read", "written", "requests", "memory"), rows)


def ratio(planned: float, measured: float) -> str:
    """Planned over measured; '' where there is nothing to measure."""
    return f"{planned / measured:.2f}" if measured else ""


def main() -> None:
    """Generate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=int)
    parser.add_argument("--bytes", type=int, default=1_000, help="text of a document, about")
    parser.add_argument("--engine", choices=["inline", "ray"], default="inline")
    parser.add_argument("--partition-bytes", type=int, default=32_000_000)
    parser.add_argument("--like", help="workspace of a smaller run, to plan this one with")
    parser.add_argument("--work", type=Path, help="folder to work in, kept (default: a temporary one)")
    parser.add_argument("--costs", type=Path, help="write what the run has cost, as the release carries it")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="scale-"))
    (work / "text").mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    firsts = range(0, options.documents, FILE_DOCUMENTS)
    paths = [work / "text" / f"{first:010}.jsonl.zst" for first in firsts]
    counts = [min(FILE_DOCUMENTS, options.documents - first) for first in firsts]
    with ProcessPoolExecutor() as pool:
        text = sum(pool.map(write_file, paths, firsts, counts, [options.bytes] * len(paths)))
    print(
        f"{options.documents:,} documents, {text / 1e6:,.1f} MB of text, made in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    recipe = as_recipe(
        {
            "name": "scale",
            "workspace": str(work / "run"),
            "engine": options.engine,
            "inputs": [{"source": "made", "path": f"{work}/text/*.jsonl.zst"}],
            "ingest": {"partition_bytes": options.partition_bytes},
            "shards": {"formats": ["parquet"]},
        }
    )
    warm()
    cpus = os.cpu_count() if options.engine == "ray" else None
    outcome = run_recipe(recipe, cpus=cpus, progress=PlainProgress(sys.stdout))
    costs = costs_of(recipe.workspace)
    seconds: dict[str, float] = {}
    for entry in outcome.stages:
        seconds[entry["stage"]] = seconds.get(entry["stage"], 0.0) + entry["seconds"]
    print_costs(costs, seconds)
    print(
        "\nbytes a document: "
        + ", ".join(f"{name} {one.bytes / options.documents:.1f}" for name, one in outcome.tables.items())
    )
    if options.like:
        node = f"{cpus or 1}x{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30}"
        plan = capacity(recipe, options.documents, text / options.documents, 1, node, costs_of(options.like))
        print_plan(plan, costs, seconds)
    if options.costs:
        options.costs.write_text(json.dumps(costs.to_dict(), indent=1) + "\n")
    if options.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
