"""Cells of two levels against cells of one: time, and what they lose.

    python benchmarks/cells.py [N] [--texts FILE …] [--cells K …] [--both K]

N documents of a synthetic hierarchy in 256 dimensions (10⁶ where neither N nor files are named), or passages of 800 characters
of JSONL files with lexical vectors. Centroids are fitted on at most 200,000 of them. Cells of one level are fitted, too,
up to `--both` cells. Times are processor seconds of one core; compilation is left out.

* *exact*: share of 20,000 documents whose cell is the nearest of all centroids.
* *cosine*: of a document to its centroid, mean.
* *neighbours*: share of the 20 nearest of 500 documents that are in the document's region; regions hold N / 10 at most.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ordering_corpora import passages, records
from ordering_speed import Clock, hierarchy

from curate.base.hashing import document_hash
from curate.relate.cells import nearest_centroid
from curate.relate.embedders import lexical
from curate.relate.regions import plan_regions, region_of
from curate.relate.similarity import Vectors, cosine
from curate.relate.super_cells import Cells, fit, nearest_cell

SAMPLE, JUDGED, ASKED, NEAREST = 200_000, 20_000, 500, 20
REGIONS = 10


def some(ids: NDArray[np.uint64], name: str, number: int) -> NDArray[np.int64]:
    """``number`` documents by hash, ascending."""
    return np.sort(np.argsort(document_hash(0, name, ids))[:number])


def true_neighbors(vectors: Vectors, asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n, 20]: the nearest others of each, of all documents."""
    found = np.empty((len(asked), NEAREST), np.int64)
    for at in range(0, len(asked), 50):
        block = cosine(vectors[asked[at : at + 50]], vectors)
        block[np.arange(len(block)), asked[at : at + 50]] = -2.0
        found[at : at + 50] = np.argpartition(-block, NEAREST, axis=1)[:, :NEAREST]
    return found


def in_region(cells: Cells, cell: NDArray[np.int64], asked: NDArray[np.int64], near: NDArray[np.int64]) -> float:
    """Share of the nearest that are in the same region."""
    counts = np.bincount(cell[cell >= 0], minlength=len(cells.centroids))
    plan = plan_regions(cells.centroids, counts, int((cell < 0).sum()), len(cell) // REGIONS, 0)
    region = region_of(cell.astype(np.int32), np.arange(len(cell), dtype=np.uint64), plan)
    return float((region[near] == region[asked][:, None]).mean())


def compare(name: str, vectors: Vectors, numbers: list[int], both: int) -> None:
    """A table for some vectors."""
    n, ids = len(vectors), np.arange(len(vectors), dtype=np.uint64)
    sample, judged, asked = some(ids, "cluster", SAMPLE), some(ids, "judged", JUDGED), some(ids, "asked", ASKED)
    near = true_neighbors(vectors, asked)
    print(f"{name}: {n:,} documents\n")
    print("| cells | levels | fit | cells of 10⁶ documents | exact | cosine | neighbours |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for k in numbers:
        for levels in (1, 2) if k <= both else (2,):
            clock = Clock()
            cells = fit(vectors[sample], k, 0, ids[sample], most=k if levels == 1 else 1)
            fitted = clock()
            cell, similarity = nearest_cell(vectors, cells)
            assigned = clock() * 1e6 / n
            exact = (nearest_centroid(vectors[judged], cells.centroids)[0] == cell[judged]).mean()
            print(
                f"| {k:,} | {levels} | {fitted:.1f} | {assigned:.1f} | {exact:.4f} | {similarity.mean():.4f} | "
                f"{in_region(cells, cell, asked, near):.3f} |",
                flush=True,
            )
    print()


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="?", type=int, default=0)
    parser.add_argument("--texts", nargs="*", type=Path, default=[])
    parser.add_argument("--cells", nargs="*", type=int, default=[1024, 2048, 4096, 8192, 32768])
    parser.add_argument("--both", type=int, default=4096)
    chosen = parser.parse_args()
    small, ids = hierarchy(3000), np.arange(3000, dtype=np.uint64)
    for most in (2, 64):
        nearest_cell(small, fit(small, 64, 0, ids, 2, most=most))  # compiles
    if chosen.documents or not chosen.texts:
        compare("Synthetic", hierarchy(chosen.documents or 1_000_000), chosen.cells, chosen.both)
    if chosen.texts:
        texts = [part for file in chosen.texts for row in records(file) for part in passages(row["text"], 800)]
        texts = [texts[i] for i in np.argsort(document_hash(0, "mixed", np.arange(len(texts), dtype=np.uint64)))]
        column = pa.array(texts, pa.large_string())
        model = lexical.fit(column[: len(texts) // 3])
        compare("Passages", model.transform(column)[0], chosen.cells, chosen.both)


if __name__ == "__main__":
    main()
