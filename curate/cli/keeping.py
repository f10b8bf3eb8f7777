"""The commands that look after a workspace: verify, clean."""

from __future__ import annotations

import argparse
import sys

from curate.cli.shared import AddCommand, add_workspace, natural, output


def add(command: AddCommand) -> None:
    """Their arguments."""
    made = command(
        "verify", verify, "check every file, count and token of a finished run", "Reads everything; changes nothing."
    )
    add_workspace(made)
    made.add_argument("--json", action="store_true", help="print the report as JSON")

    made = command("clean", clean, "list, then remove, files that no kept state of the workspace uses")
    add_workspace(made)
    made.add_argument(
        "--keep", type=natural, default=0, metavar="N", help="also keep this many former states (default: 0)"
    )
    made.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")


def verify(options: argparse.Namespace) -> int:
    """``curate verify``."""
    from curate.look.verify import sections
    from curate.look.verify import verify as look

    report = look(
        options.workspace, say=None if options.json else lambda text: print(text, file=sys.stderr, flush=True)
    )
    output(report.as_dict(), sections, options.json)
    return 1 if report.faults else 0


def clean(options: argparse.Namespace) -> int:
    """``curate clean``."""
    from curate.look.clean import clean as sweep
    from curate.look.clean import sections

    output(sweep(options.workspace, keep=options.keep, remove=options.yes).as_dict(), sections, as_json=False)
    return 0
