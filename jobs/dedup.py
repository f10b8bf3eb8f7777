"""Entry script for the Ray Jobs API: read, filter and deduplicate; stops when the duplicates are known.

    ray job submit --address http://HEAD:8265 --working-dir . -- python jobs/dedup.py RECIPE [--set a.b=c]

Run again with `jobs/run_recipe.py` and the same recipe, it goes on from there.
"""

from __future__ import annotations

import sys

from curate.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:], "--address", "auto", "--until", "dedup"]))
