"""Speed and memory of ordering, against limits, and what regions lose.

    python benchmarks/ordering_speed.py [--documents N] [--region N] [--texts FILE …] [--script sort.py]

Vectors are a synthetic hierarchy (60 topics, Zipf-sized subtopics) of 256 dimensions, lengths log-normal. A region of
100,000 documents is measured in processor seconds and scaled to 10⁶: regions are independent. `--texts` times the lexical embedder
on JSONL files; `--script` runs the script released with In-Context Pretraining (sort/sort.py), its crashes mended, on the
same neighbours. Compilation is left out.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ordering_corpora import load

from curate.packing.inside import arrange
from curate.packing.plan import Refinement, pack
from curate.packing.refusals import similarity
from curate.relate import measures
from curate.relate.embedders import lexical
from curate.relate.neighbors import Neighbors, neighbors
from curate.relate.orders.icp import icp
from curate.relate.orders.icp_code import icp_code
from curate.relate.orders.related import related
from curate.relate.regions import plan_regions, region_of
from curate.relate.similarity import Vectors
from curate.relate.super_cells import assign, fit

WINDOW = 8192
LIMIT = 0.95
MILLION = 1_000_000


def hierarchy(n: int, dim: int = 256, seed: int = 0) -> Vectors:
    """int8[n, dim]: documents about subtopics about topics."""
    rng = np.random.default_rng(seed)
    top = rng.normal(size=(60, dim))
    sub = top[rng.integers(0, 60, max(60, n // 8))] + 0.8 * rng.normal(size=(max(60, n // 8), dim))
    share = 1 / np.arange(1, len(sub) + 1) ** 0.7
    out = np.empty((n, dim), np.int8)
    for start in range(0, n, 100_000):
        some = sub[rng.choice(len(sub), min(100_000, n - start), p=share / share.sum())]
        some = some + 0.9 * rng.normal(size=some.shape)
        out[start : start + len(some)] = np.rint(some * (127 / np.abs(some).max(axis=1, keepdims=True)))
    return out


def lengths_of(n: int, seed: int = 0) -> NDArray[np.int64]:
    """int64[n]: log-normal lengths about 900 tokens."""
    return np.clip(np.random.default_rng(seed).lognormal(6.4, 0.9, n), 20, WINDOW).astype(np.int64)


def resident(name: str) -> int:
    """VmRSS or VmHWM (the peak since the last reset) of this process in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


class Clock:
    """Processor seconds of this process since the last look: other work on the machine does not count."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def __call__(self) -> float:
        before, self.last = self.last, time.process_time()
        return self.last - before


def along(path: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Neighbours as places on the path."""
    place = np.full(len(path) + 1, -1, np.int64)
    place[path] = np.arange(len(path))
    return np.asarray(place[ids[path]])


def windows(vectors: Vectors, lengths: NDArray[np.int64], path: NDArray[np.int64], found: Neighbors) -> Any:
    """Windows of a region: filled, refined."""
    how = Refinement(along(path, found.ids))
    return pack("related", lengths[path], WINDOW, vectors=vectors[path], max_similarity=LIMIT, refinement=how)


def region(n: int, documents: int) -> None:
    """Times of one region, and what they mean for ``documents`` on two cores."""
    vectors, lengths, ids = hierarchy(n), lengths_of(n), np.arange(n, dtype=np.uint64)
    clock = Clock()
    found = neighbors(vectors, 20, LIMIT)
    searched = clock()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is no memory to build on
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on (Linux)
    clock()
    path = related(vectors, found.ids, found.similarity, ids, max_similarity=LIMIT)
    ordered, held = clock(), max(0, resident("VmHWM") - before)
    pieces = windows(vectors, lengths, path, found)
    refined = clock()
    arrange(pieces, similarity(vectors[path], LIMIT), "chain", ids[path])
    arranged = clock()
    icp(vectors, found.ids, found.similarity, ids)
    walked = clock()
    counts = measures.path_counts(path, vectors, found.ids, found.similarity, LIMIT)
    factor = documents / n
    recall = measures.neighbor_recall(vectors, found.ids, LIMIT, 200)
    print(
        f"One region of {n:,}: path/bound {counts['weight'] / counts['bound']:.3f}, recall of neighbours {recall:.3f}\n"
    )
    print(f"| step | processor s a region | {documents:,} documents | limit |\n| --- | --- | --- | --- |")
    for name, seconds, cores, limit in (
        ("neighbours", searched, 2, None),
        ("cover, joining, local search", ordered, 1, 30),
        ("windows: filling and refinement", refined, 2, 120),
        ("order inside windows", arranged, 2, None),
        ("all of it", searched + ordered + refined + arranged, 2, 480),
        ("for comparison: Algorithm 1", walked, 1, None),
    ):
        said = "" if limit is None else f"{limit} s" + (" **missed**" if seconds * factor / cores > limit else "")
        print(
            f"| {name} | {seconds:.1f} | {seconds * factor / cores:.0f} s on {cores} core{'s' * (cores > 1)} | {said} |"
        )
    print(f"\nMemory of the path beyond neighbours and vectors: {held / n:.0f} B a document (limit 200)\n")


def loss(n: int, regions: int = 10) -> None:
    """In-window similarity of regions against one run over everything."""
    vectors, lengths, ids = hierarchy(n, 64), lengths_of(n), np.arange(n, dtype=np.uint64)
    cells = fit(vectors, n // 100, 0, ids)
    cell, _ = assign(vectors, cells)
    centroids = cells.centroids
    plan = plan_regions(centroids, np.bincount(cell, minlength=len(centroids)), 0, n // regions, 0)
    of = region_of(cell, ids, plan)
    whole = np.zeros(n, np.int64)
    results = []
    for division in (whole, np.asarray(of, np.int64)):
        window, count = np.full(n, -1, np.int64), 0
        for r in np.unique(division):
            mine = np.flatnonzero(division == r)
            found = neighbors(vectors[mine], 20, LIMIT)
            path = related(vectors[mine], found.ids, found.similarity, ids[mine], max_similarity=LIMIT)
            pieces = windows(vectors[mine], lengths[mine], path, found)
            window[mine[path[pieces.item]]] = pieces.window + count
            count += pieces.n_windows
        results.append((measures.pair_mean(window, vectors), count))
    (one, _), (many, _) = results
    print(
        f"{len(np.unique(of))} regions of at most {n // regions:,} against one of {n:,}: similarity in windows {many:.4f} against "
        f"{one:.4f} (loss {1 - many / one:.2%}, limit 1.5 %), windows {results[1][1]:,} against {results[0][1]:,}\n"
    )


def embedder(files: list[Path]) -> None:
    """Speed of the lexical embedder."""
    for file in files:
        texts = pa.array(load(file)[0], pa.large_string())
        megabytes = texts.nbytes / 1e6
        clock = Clock()
        model = lexical.fit(texts)
        fitted = clock()
        model.transform(texts)
        print(
            f"{file.name}, {megabytes:.0f} MB: fit {fitted:.1f} s (limit 60), transform {megabytes / clock():.0f} MB/s a core "
            "(limit 20)\n"
        )


def script(path: Path, n: int) -> None:
    """The released script on the same neighbours; its two crashes are mended, its files and progress bars left out."""
    vectors = hierarchy(n)
    found = neighbors(vectors, 20, LIMIT)
    near = np.concatenate([np.arange(n)[:, None], found.ids], axis=1)  # rank 0 is the document itself
    source = path.read_text()
    body = source[source.index("class sort_class") : source.index("    def analyze_data")]
    helpers = source[source.index("    def output_first_doc_knn(self") : source.index("    def write_docs(self")]
    line = "k_cluster_docs = self.cluster2docs[top1k_cluster]"  # raises where no neighbour is in another cluster
    alone = "self.cluster2docs[-1].append(doc); self.doc2cluster[doc] = -1; continue"
    body = body.replace(line, f"if top1k is None: {alone}\n                    {line}")
    saved: dict[str, Any] = {}
    names: dict[str, Any] = {
        "np": np, "defaultdict": __import__("collections").defaultdict, "tqdm": _Silent, "print": lambda *a: None,
        "pickle_dump": lambda data, name: saved.__setitem__(name, data), "pickle_load": saved.__getitem__,
    }  # fmt: skip
    exec(compile(body + helpers, str(path), "exec"), names)
    sorter = names["sort_class"](range(n), "", 0, "", "", "", "")
    sorter.load_all_knns = lambda: sorter.all_knns.append(near)
    sorter.knns = near
    sorter.doc2cluster[0] = 0  # the script forgets its first document
    clock = Clock()
    sorter.sort()
    sorter.merge()
    theirs = clock()
    icp_code(found.ids)
    clock()
    for _ in range(5):
        icp_code(found.ids)
    ours = clock() / 5
    ids = np.arange(n, dtype=np.uint64)
    related(vectors, found.ids, found.similarity, ids, max_similarity=LIMIT)
    print(
        f"The released script, {n:,} documents: {theirs:.2f} s; icp_code {ours:.4f} s ({theirs / ours:.0f} times as fast, "
        f"limit 50); related {clock():.2f} s\n"
    )


class _Silent:
    """A progress bar that shows nothing."""

    def __new__(cls, items: Any = None, total: int = 0) -> Any:
        return items if items is not None else super().__new__(cls)

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None: ...

    def update(self, count: int) -> None: ...


def main() -> None:
    """Prints times against limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=MILLION)
    parser.add_argument("--region", type=int, default=100_000)
    parser.add_argument("--texts", nargs="*", type=Path, default=[])
    parser.add_argument("--script", type=Path)
    chosen = parser.parse_args()
    small = hierarchy(2000)
    found = neighbors(small, 20, LIMIT)
    ids = np.arange(2000, dtype=np.uint64)
    path = related(small, found.ids, found.similarity, ids, max_similarity=LIMIT)  # compiles
    arrange(windows(small, lengths_of(2000), path, found), similarity(small[path], LIMIT), "chain", ids)
    icp(small, found.ids, found.similarity, ids)
    measures.neighbor_recall(small, found.ids, LIMIT, 10)
    lexical.fit(["two words", "two others"], dim=4).transform(["two"])
    region(chosen.region, chosen.documents)
    if chosen.script:
        script(chosen.script, min(20_000, chosen.region))
    embedder(chosen.texts)
    loss(min(20_000, chosen.region))


if __name__ == "__main__":
    main()
