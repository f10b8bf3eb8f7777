"""``python -m tests.faults N [--seed S]``: N runs that meet a fault each; ends with 1 when one of them differs.

A trial that failed is run again alone by ``--only NUMBER`` with the same seed and number of trials.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "RAYON_NUM_THREADS": "1"}

from tests.faults.trials import WEIGHTS, Bench, Trial, kinds
from tests.s3_server import s3_server


def main() -> int:
    """Run the trials; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", nargs="+", choices=list(WEIGHTS), default=list(WEIGHTS))
    parser.add_argument("--only", type=int, help="run this one trial of them")
    options = parser.parse_args()
    print(f"{options.count} trials, seed {options.seed}", flush=True)
    done: Counter[str] = Counter()
    bad: list[int] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        bench = Bench(Path(folder))
        print(f"a run: {bench.writes} writes, {bench.bytes:,} bytes, {bench.seconds:.1f} s", flush=True)
        plan = kinds(options.seed, options.count, options.kinds)
        if any(kind.startswith("s3_") for kind in plan):
            bench.server = stack.enter_context(s3_server())
        for number, kind in enumerate(plan):
            if options.only not in (None, number):
                continue
            began = time.monotonic()
            try:
                told = Trial(bench, options.seed, number).run(kind)
                done[kind] += 1
            except AssertionError as error:
                told = f"FAILED: {error}"
                bad.append(number)
            print(f"{number:4} {kind:14} {time.monotonic() - began:5.1f} s  {told}", flush=True)
    print(
        f"\n{done.total()} runs without a difference: " + ", ".join(f"{n} {kind}" for kind, n in sorted(done.items()))
    )
    if bad:
        print(
            f"{len(bad)} failed: {bad}; again: python -m tests.faults {options.count} --seed {options.seed} --only {bad[0]}"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
