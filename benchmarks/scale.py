"""A rehearsal at scale on one machine: synthetic documents through every stage, with time, memory and bytes of each.

    python benchmarks/scale.py 100000 [--bytes 1000] [--until STAGE] [--work DIR]

Texts are made on the fly by hashes of their number: topics, one in 50 an exact copy and one in 20 a near copy of an earlier
document. Processor seconds are those of this process (`engine: inline`), so other work on the machine hardly matters.
Peak memory is the process's own, from the beginning of a stage to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1"}

import numpy as np
import zstandard

from curate import api
from curate.run.progress import NoProgress

FILE_DOCUMENTS = 50_000
WORDS = 60_000
TOPICS = 2_000
COMMON = "the and of to that with be have in is it for on was as by at from this are".split()


def vocabulary() -> np.ndarray:
    """Made-up words of two to four syllables; the first ones are common English words, which the quality rules count."""
    syllables = np.array([c + v for c in "bdfgklmnprstvz" for v in "aeiou"])
    draw = np.random.default_rng(0)
    parts = syllables[draw.integers(0, len(syllables), (WORDS, 4))]
    lengths = draw.integers(2, 5, WORDS)
    return np.array(COMMON + ["".join(row[:n]) for row, n in zip(parts, lengths, strict=True)][len(COMMON) :])


def write_file(path: Path, first: int, count: int, size: int, words: np.ndarray) -> int:
    """Documents ``first`` to ``first + count`` as JSON lines; their bytes of text."""
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
                chosen = words[np.where(draw.random(n) < 0.4, common, own)]
                chosen[11::12] = np.char.add(chosen[11::12], ".")
                text = " ".join(chosen)
            if len(texts) < 2_000:
                texts.append(text)
            total += len(text)
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    return total


class Meter(NoProgress):
    """Processor seconds and peak memory of each stage."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, float]] = []
        self._reset()

    def _reset(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        peak = int(status["VmHWM"].split()[0]) * 1024
        self.rows.append((title, time.process_time() - self._cpu, time.monotonic() - self._wall, peak / 1e9))
        print(
            f"{title:50} {self.rows[-1][1]:8.1f} s cpu {self.rows[-1][2]:8.1f} s wall {peak / 1e9:6.2f} GB", flush=True
        )
        self._reset()


def main() -> None:
    """Generate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("documents", type=int)
    parser.add_argument("--bytes", type=int, default=1_000, help="text of a document, about")
    parser.add_argument("--until", help="last stage")
    parser.add_argument("--work", type=Path, help="folder to work in, kept (default: a temporary one)")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="scale-"))
    (work / "text").mkdir(parents=True, exist_ok=True)
    words, text, began = vocabulary(), 0, time.monotonic()
    for first in range(0, options.documents, FILE_DOCUMENTS):
        count = min(FILE_DOCUMENTS, options.documents - first)
        text += write_file(work / "text" / f"{first:010}.jsonl.zst", first, count, options.bytes, words)
    print(
        f"{options.documents:,} documents, {text / 1e6:,.1f} MB of text, made in {time.monotonic() - began:.0f} s",
        flush=True,
    )
    recipe = {
        "name": "scale",
        "workspace": str(work / "run"),
        "engine": "inline",
        "inputs": [{"source": "made", "path": f"{work}/text/*.jsonl.zst"}],
        "ingest": {"partition_bytes": 32_000_000},
        "shards": {"formats": ["parquet"]},
    }
    meter = Meter()
    outcome = api.execute(recipe, until=options.until, progress=meter)
    seconds: dict[str, float] = {}
    for title, cpu, _, _ in meter.rows:
        seconds[title.split(" ")[0]] = seconds.get(title.split(" ")[0], 0.0) + cpu
    print(
        "\nMB of text a processor second: "
        + ", ".join(f"{name} {text / 1e6 / max(s, 1e-3):.1f}" for name, s in seconds.items())
    )
    print(
        "\nbytes a document: "
        + ", ".join(f"{name} {table.bytes / options.documents:.1f}" for name, table in outcome.tables.items())
    )
    print(f"all: {sum(seconds.values()):.1f} processor seconds, peak {max(row[3] for row in meter.rows):.2f} GB")
    if options.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
