"""Entry script for the Ray Jobs API: lengths, windows and shards alone, over a workspace in which the order is there.

    ray job submit --address http://HEAD:8265 --working-dir . --entrypoint-num-cpus 1 -- python jobs/shards.py RECIPE [--set a.b=c]

Ends with 2, and starts nothing, when an earlier stage would have to run: a changed threshold should not read the
corpus again by accident.
"""

from __future__ import annotations

import sys

from curate.api import as_recipe
from curate.base.errors import CurateError
from curate.cli import main, make_parser
from curate.planning.check import check
from curate.storage.interface import in_force

LAST = ("upsample", "synthetic", "pack", "shards", "ledger")


def earlier_stages(arguments: list[str]) -> list[str]:
    """Stages before the lengths that a run with these arguments would have to run."""
    options = make_parser().parse_args(["run", *arguments])
    recipe = as_recipe(options.recipe, options.changes)
    with in_force(recipe.storage):
        plan = check(recipe)
    return list(dict.fromkeys(s["stage"] for s in plan["stages"] if s["state"] != "there" and s["stage"] not in LAST))


if __name__ == "__main__":
    try:
        todo = earlier_stages(sys.argv[1:])
    except CurateError as error:
        sys.exit(f"error: {error}")
    if todo:
        print(f"error: {', '.join(todo)} would have to run first; use jobs/run_recipe.py", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(["run", *sys.argv[1:], "--address", "auto"]))
