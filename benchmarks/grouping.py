"""Speed of the steps between signatures and components, on random data of stated shape.

    python benchmarks/grouping.py [--millions 10] [--repeats 3] [--markdown]

Band keys; grouping of band rows into buckets (all keys distinct; half of them twice; one key in every 14 rows the same);
union-find over random edges, stars of 14, a shuffled chain, one star; components of the same with 64-bit ids. Times are
CPU seconds of one thread, the best of the repeats, compiling aside.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from curate.dedup.components import components, union_find
from curate.dedup.minhash import MinHashParams, band_keys, group


def seconds(work: Callable[[], object], repeats: int) -> float:
    """CPU seconds of this thread, the best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best


def main() -> None:
    """Print one line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=10, help="rows and edges")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    n = arguments.millions * 1_000_000
    rng = np.random.default_rng(0)

    def report(step: str, rows: int, work: Callable[[], object]) -> None:
        speed = f"{rows / seconds(work, arguments.repeats) / 1e6:.0f} M/s"
        print(f"| {step} | {speed} |" if arguments.markdown else f"{step:48}{speed:>12}", flush=True)

    if arguments.markdown:
        print("| step | one core |\n|---|---|")
    params = MinHashParams()
    signature = rng.integers(0, 2**32, (n // params.bands // 4, params.num_perm), dtype=np.uint32)
    band_keys(signature[:2], params)
    report("band keys (rows)", signature.shape[0] * params.bands, lambda: band_keys(signature, params))
    keys = rng.integers(0, 2**64, n, dtype=np.uint64)
    doc_ids = np.arange(n, dtype=np.uint64) // np.uint64(params.bands)
    group(keys[:100], doc_ids[:100])
    report("grouping, all keys distinct (rows)", n, lambda: group(keys, doc_ids))
    twice = rng.permutation(np.concatenate([keys[: n // 2]] * 2))
    report("grouping, every key twice (rows)", n, lambda: group(twice, doc_ids))
    hot = np.where(np.arange(n) % params.bands == 0, keys[0], keys)
    report("grouping, one key in every document (rows)", n, lambda: group(hot, doc_ids))

    v = np.arange(n, dtype=np.int32)
    order = rng.permutation(n - 1)
    shapes = {
        "random": (rng.integers(0, n, n, dtype=np.int32), rng.integers(0, n, n, dtype=np.int32)),
        "stars of 14": (v // 14 * 14, v),
        "a shuffled chain": (v[:-1][order], v[1:][order]),
        "one star": (np.zeros(n, np.int32), v),
    }
    union_find(v[:2], v[:2], 2)
    for shape, (left, right) in shapes.items():
        report(f"union-find, {shape} (edges)", len(left), lambda a=left, b=right: union_find(a, b, n))  # type: ignore[misc]
    for shape in ("random", "stars of 14"):
        left, right = (side.astype(np.uint64) << np.uint64(8) for side in shapes[shape])
        report(f"components, {shape} (edges)", n, lambda a=left, b=right: components(a, b))  # type: ignore[misc]


if __name__ == "__main__":
    main()
