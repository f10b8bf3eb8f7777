"""The whole relate part for real: vectors into cells, regions, neighbours, paths and refined windows, on all cores.

    python benchmarks/relate.py [N …] [--region N]

N documents (100,000 and 1,000,000 where none is named) with vectors of a synthetic hierarchy in 256 dimensions and
log-normal lengths about 900 tokens, as in `ordering_speed.py`. Centroids are fitted on 200,000 of them; then as many
processes as there are cores take parts of the documents, and regions, as the tasks of a run do. Vectors lie in a file.
Shown are seconds by the clock, processor seconds by step, and the largest peak memory of a process. Compilation is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
from numpy.typing import NDArray
from ordering_speed import LIMIT, Clock, hierarchy, lengths_of, windows

from curate.base.hashing import document_hash
from curate.packing.inside import arrange
from curate.packing.measures import count_windows
from curate.packing.refusals import similarity
from curate.relate.measures import pair_mean, path_counts, summarise
from curate.relate.neighbors import neighbors
from curate.relate.orders.related import related
from curate.relate.regions import plan_regions, region_of
from curate.relate.super_cells import Cells, assign, fit

SAMPLE, CELL = 200_000, 1_000  # the defaults of `cluster`
WINDOW = 8_192
STEPS = ("neighbours", "paths", "windows", "order inside windows")


def cells_of(file: Path, cells: Cells, first: int, last: int) -> tuple[NDArray[np.int32], float]:
    """(cell of each document of a part, processor seconds)."""
    clock = Clock()
    return assign(np.load(file, mmap_mode="r")[first:last], cells)[0], clock()


def one_region(file: Path, members: NDArray[np.int64]) -> dict[str, object]:
    """Processor seconds of a region by step, sums of its measures, and this process's peak memory."""
    vectors, lengths = np.load(file, mmap_mode="r")[members], np.load(file.with_name("lengths.npy"))[members]
    ids, clock, spent = members.astype(np.uint64), Clock(), []
    found = neighbors(vectors, 20, LIMIT)
    spent.append(clock())
    path = related(vectors, found.ids, found.similarity, ids, max_similarity=LIMIT)
    spent.append(clock())
    pieces = windows(vectors, lengths, path, found)
    spent.append(clock())
    pieces = arrange(pieces, similarity(vectors[path], LIMIT), "chain", ids[path])
    spent.append(clock())
    window = np.full(len(members), -1, np.int64)
    window[path[pieces.item]] = pieces.window
    return {
        "seconds": spent,
        "path": path_counts(path, vectors, found.ids, found.similarity, LIMIT),
        "pairs": pair_mean(window, vectors),
        "documents": len(members),
        "padding": count_windows(pieces, lengths[path], WINDOW)["padding"],
        "windows": pieces.n_windows,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def warm(_: int) -> None:
    """Compiled kernels are loaded into a process."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "vectors.npy")
        np.save(file, hierarchy(2_000))
        np.save(file.with_name("lengths.npy"), lengths_of(2_000))
        cells_of(file, fit(np.load(file), 4, 0, np.arange(2_000, dtype=np.uint64), most=2), 0, 2_000)
        one_region(file, np.arange(2_000))


def measure(n: int, region_size: int, pool: ProcessPoolExecutor, cores: int, place: Path) -> None:
    """One run over ``n`` documents; prints its table."""
    file = place / "vectors.npy"
    np.save(file, hierarchy(n))
    np.save(file.with_name("lengths.npy"), lengths_of(n))
    ids, vectors = np.arange(n, dtype=np.uint64), np.load(file, mmap_mode="r")
    rows: list[tuple[str, float, float]] = []
    began, clock = time.perf_counter(), Clock()

    def done(step: str, processors: float) -> None:
        nonlocal began
        now = time.perf_counter()
        rows.append((step, now - began, processors))
        began = now

    sampled = np.sort(np.argsort(document_hash(0, "cluster", ids))[:SAMPLE])
    fitted = fit(vectors[sampled], max(1, round(n / CELL)), 0, ids[sampled], threads=cores)
    centroids = fitted.centroids
    done("centroids", clock())
    bounds = [n * i // (8 * cores) for i in range(8 * cores + 1)]
    parts = list(pool.map(partial(cells_of, file, fitted), bounds[:-1], bounds[1:]))
    cell = np.concatenate([one for one, _ in parts])
    done("cells", sum(seconds for _, seconds in parts))
    clock()
    plan = plan_regions(centroids, np.bincount(cell, minlength=len(centroids)), 0, region_size, 0)
    region = region_of(cell, ids, plan)
    order = np.argsort(region, kind="stable")
    members = np.split(order, np.searchsorted(region[order], np.arange(1, plan.regions)))
    done("regions", clock())
    found = list(pool.map(one_region, [file] * len(members), members))
    done("regions' tasks", sum(sum(one["seconds"]) for one in found))
    print(
        f"{n:,} documents, {len(centroids):,} cells, {len(members)} regions of at most {region_size:,}; {cores} cores\n"
    )
    print("| step | seconds | processor seconds |\n| --- | --- | --- |")
    for step, wall, processors in rows:
        print(f"| {step} | {wall:.1f} | {processors:.1f} |")
    for i, step in enumerate(STEPS):
        print(f"| … {step} | | {sum(one['seconds'][i] for one in found):.1f} |")
    total = sum(wall for _, wall, _ in rows)
    processors = sum(seconds for _, _, seconds in rows)
    print(f"| **all** | **{total:.1f}** | **{processors:.1f}** |\n")
    pairs = sum(one["pairs"] * one["windows"] for one in found) / sum(one["windows"] for one in found)
    padding = sum(one["padding"] for one in found) / (WINDOW * sum(one["windows"] for one in found))
    print(
        f"{1e6 * total / n:.0f} s by the clock and {1e6 * processors / n:.0f} processor seconds a million documents; path/bound "
        f"{summarise([one['path'] for one in found])['path_share']:.3f}, similarity in windows {pairs:.3f}, padding {padding:.4f}, "
        f"peak of a process {max(one['peak'] for one in found) / 1e9:.2f} GB\n"
    )


def main() -> None:
    """Measures every N."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--region", type=int, default=100_000)
    chosen = parser.parse_args()
    cores = os.cpu_count() or 1
    warm(0)
    with (
        tempfile.TemporaryDirectory() as place,
        ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool,
    ):
        list(pool.map(warm, range(4 * cores)))
        for n in chosen.documents:
            measure(n, chosen.region, pool, cores, Path(place))


if __name__ == "__main__":
    main()
