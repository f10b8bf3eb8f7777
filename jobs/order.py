"""Entry script for the Ray Jobs API: everything up to the order of the documents; no window is packed, no shard written.

    ray job submit --address http://HEAD:8265 --working-dir . -- python jobs/order.py RECIPE [--set a.b=c]

What is there already (a finished `jobs/dedup.py`) is not done again.
"""

from __future__ import annotations

import sys

from curate.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:], "--address", "auto", "--until", "order"]))
