"""The commands that take things out of a workspace or look after it: export, verify, clean, remove."""

from __future__ import annotations

import argparse
import sys

from curate.base.side_files import entries
from curate.base.terminal import printable
from curate.cli.shared import AddCommand, natural, output, positive, text_of


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    parser = command(export).workspace()
    parser.value("--to", "PATH", "a new or empty folder, or s3://bucket/prefix", required=True)
    formats = ("parquet", "jsonl.zst")
    parser.value("--format", None, "format of the files (default: parquet)", choices=formats, default="parquet")
    parser.flag("--json", "print what was written as JSON")

    parser = command(verify).workspace()
    parser.flag("--json", "print the report as JSON")

    parser = command(clean).workspace()
    parser.value("--keep", "N", "also keep this many previous states (default: 0)", type=natural, default=0)
    parser.flag("--yes", "remove them; without it they are only listed")

    parser = command(remove).workspace()
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ids", metavar="FILE", help="ids or doc_ids, one a line; - for standard input")
    what.add_argument("--where", metavar="EXPR", help="a condition, as in quality.where: meta.author == 'X'")
    what.add_argument("--like", metavar="FILE", help="a text; - for standard input")
    parser.value("--by", "WHO", "who asks, for the audit", default="")
    parser.value("--reason", "TEXT", "why, for the audit", default="")
    parser.flag("--yes", "remove them; without it they are only listed")
    parser.value("--cpus", "N", "processors of a local Ray (default: all)", type=positive)
    parser.value("--address", "ADDRESS", "a running Ray cluster")
    parser.flag("--json", "print what was found and done as JSON")


def export(options: argparse.Namespace) -> int:
    """Write the kept documents as text, with their metadata and what was decided about them.

    For those who want text, not tokens. Of a run that was stopped after dedup, the documents left by it.
    """
    from curate.api import open_run
    from curate.report.outcomes import exported

    written = open_run(options.workspace).export(options.to, options.format)
    return output(written.as_dict(), exported, options.json)


def verify(options: argparse.Namespace) -> int:
    """Check every file, count and token of a finished run.

    Reads everything; changes nothing.
    """
    from curate.report.outcomes import verification
    from curate.verify.verify import verify as check

    say = None if options.json else lambda text: print(printable(text), file=sys.stderr, flush=True)
    report = check(options.workspace, say=say)
    output(report.as_dict(), verification, options.json)
    return 1 if report.faults else 0


def clean(options: argparse.Namespace) -> int:
    """List, then remove, files that no kept state of the workspace uses."""
    from curate.driver.clean import clean as sweep
    from curate.report.outcomes import garbage

    return output(sweep(options.workspace, keep=options.keep, remove=options.yes), garbage, as_json=False)


def remove(options: argparse.Namespace) -> int:
    """Takedown: list, then remove, documents from every table and shard of a finished run.

    Documents are named by ids, by a condition, or by a text that they hold or nearly are. With them go all that hold the
    same text or were removed as their duplicates. Windows keep their places; what leaves them becomes padding. The
    documents are refused when they come again, and the table `audit` keeps who asked for what.
    """
    from curate.driver.takedown import take_down
    from curate.driver.takedown_request import Request
    from curate.engine.progress import choose_progress
    from curate.report.outcomes import removal

    ids = tuple(entries(text_of(options.ids), with_spaces=True)) if options.ids else ()
    like = text_of(options.like) if options.like else ""
    request = Request(ids, options.where or "", like, options.by, options.reason)
    done = take_down(
        options.workspace,
        request,
        apply=options.yes,
        cpus=options.cpus,
        address=options.address,
        progress=choose_progress(as_json=False) if options.yes and not options.json else None,
    )
    return output(done, removal, options.json)
