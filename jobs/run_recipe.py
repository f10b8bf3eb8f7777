"""Entry script for the Ray Jobs API: run a recipe on the cluster that the job was submitted to.

    ray job submit --address http://HEAD:8265 --working-dir . -- python jobs/run_recipe.py RECIPE [--set a.b=c] [--until STAGE]

Without resources of its own the driver runs on the head, whose loss ends every job anyway. A job that is submitted again
goes on where the last one stopped. Inputs and workspace must be reachable from every node (S3 or a
shared disk); credentials come from the nodes' environment or instance role, never from the recipe or the job.
"""

from __future__ import annotations

import sys

from curate.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:], "--address", "auto"]))
