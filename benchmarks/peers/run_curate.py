"""Curate's ingest and deduplication of IN.jsonl into the workspace OUT; writes OUT/kept.txt, prints seconds as JSON.

python run_curate.py IN.jsonl OUT CORES NGRAM BANDS ROWS THRESHOLD    (inline on one core, Ray on more)
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import curate
from curate.engine.progress import Progress


class Steps(Progress):
    """Wall time between the beginnings of steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at: tuple[str, float] = ("start", time.perf_counter())

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        self.mark(f"{stage}: {step}")

    def mark(self, name: str) -> None:
        """What comes next is ``name``."""
        now = time.perf_counter()
        self.seconds[self._at[0]] = self.seconds.get(self._at[0], 0.0) + now - self._at[1]
        self._at = (name, now)


def recipe(source: Path, workspace: Path, cores: int, partition_bytes: int) -> dict[str, Any]:
    """Ingest and dedup alone."""
    ngram, bands, rows = (int(value) for value in sys.argv[4:7])
    near = {"ngram": ngram, "bands": bands, "rows": rows, "threshold": float(sys.argv[7])}
    return {
        "workspace": str(workspace),
        "engine": "inline" if cores == 1 else "ray",
        "ingest": {"partition_bytes": partition_bytes},
        "inputs": [{"source": "texts", "path": str(source)}],
        "quality": "off",
        "dedup": {"near": near},
    }


def main() -> None:
    source, out, cores = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    cpus = None if cores == 1 else cores
    if cores > 1:
        from curate.engine.engines import RayEngine

        started = RayEngine(cores)
        started.start()  # aside; later engines of this process use it, while this one lives
    few = out.with_name(out.name + "-few.jsonl")
    with source.open(encoding="utf-8") as file:
        few.write_text("".join(line for line, _ in zip(file, range(200), strict=False)), encoding="utf-8")
    size = few.stat().st_size // (4 * cores)  # so many tasks that every worker has its turn
    curate.run(recipe(few, out, cores, size), until="dedup", cpus=cpus)  # imports, compiled kernels
    few.unlink()
    shutil.rmtree(out)
    steps = Steps()
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    size = 16_000_000 if cores > 1 else 128_000_000
    curate.run(recipe(source, out, cores, size), until="dedup", cpus=cpus, progress=steps)
    seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - cpu
    steps.mark("end")
    run = curate.open(out)
    removed = run.table("duplicates").select("doc_id").collect()
    documents = run.table("documents").select("doc_id", "id").collect()
    ids = documents.join(removed, on="doc_id", how="anti").sort("doc_id")["id"].to_list()
    (out / "kept.txt").write_text("\n".join(ids))
    if cores > 1:
        started.close()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "steps": steps.seconds, "kept": len(ids)}))


if __name__ == "__main__":
    main()
