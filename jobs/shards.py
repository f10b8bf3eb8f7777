"""Entry script for the Ray Jobs API: lengths, windows and shards alone, over a workspace in which the order is there.

    ray job submit --address http://HEAD:8265 --working-dir . -- python jobs/shards.py RECIPE [--set a.b=c]

Ends with 2, and starts nothing, when an earlier stage would have to run: a changed threshold should not read the
corpus again by accident.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys

from curate.cli import main

LAST = ("upsample", "synthetic", "pack", "shards", "ledger")


def earlier_stages(arguments: list[str]) -> list[str]:
    """Stages before the lengths that a run with these arguments would have to run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="changes", nargs="+", action="extend", default=[])
    options, _ = parser.parse_known_args(arguments)
    changes = ["--set", *options.changes] if options.changes else []
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(["check", options.recipe, *changes, "--json"])
    if code:
        sys.exit(code)
    plan = json.loads(printed.getvalue())
    return list(dict.fromkeys(s["stage"] for s in plan["stages"] if s["state"] != "there" and s["stage"] not in LAST))


if __name__ == "__main__":
    todo = earlier_stages(sys.argv[1:])
    if todo:
        print(f"error: {', '.join(todo)} would have to run first; use jobs/run_recipe.py", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(["run", *sys.argv[1:], "--address", "auto"]))
