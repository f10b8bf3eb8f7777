"""The commands that take things out of a workspace or look after it: export, verify, remove, clean."""

from __future__ import annotations

import argparse
import sys

from curate.cli.shared import AddCommand, add_workspace, natural, output, positive, text_of


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    parser = command(
        "export",
        export,
        "write the kept documents as text, with their metadata and what was decided about them",
        "For those who want text, not tokens. Of a run that was stopped after dedup, the documents left by it.",
    )
    add_workspace(parser)
    parser.add_argument("--to", metavar="PATH", required=True, help="a new or empty folder, or s3://bucket/prefix")
    parser.add_argument(
        "--format", choices=("parquet", "jsonl.zst"), default="parquet", help="format of the files (default: parquet)"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")

    parser = command(
        "verify", verify, "check every file, count and token of a finished run", "Reads everything; changes nothing."
    )
    add_workspace(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")

    parser = command("clean", clean, "list, then remove, files that no kept state of the workspace uses")
    add_workspace(parser)
    parser.add_argument(
        "--keep", type=natural, default=0, metavar="N", help="also keep this many previous states (default: 0)"
    )
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")

    parser = command(
        "remove",
        remove,
        "takedown: list, then remove, documents from every table and shard of a finished run",
        "Documents are named by ids, by a condition, or by a text that they hold or nearly are. With them go all that hold "
        "the same text or were removed as their duplicates. Windows keep their places; what leaves them becomes padding. "
        "The documents are refused when they come again, and the table `audit` keeps who asked for what.",
    )
    add_workspace(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ids", metavar="FILE", help="ids or doc_ids, one a line; - for standard input")
    what.add_argument("--where", metavar="EXPR", help="a condition, as in quality.where: meta.author == 'X'")
    what.add_argument("--like", metavar="FILE", help="a text; - for standard input")
    parser.add_argument("--by", default="", metavar="WHO", help="who asks, for the audit")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit")
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    parser.add_argument("--cpus", type=positive, metavar="N", help="processors of a local Ray (default: all)")
    parser.add_argument("--address", metavar="ADDRESS", help="a running Ray cluster")
    parser.add_argument("--json", action="store_true", help="print what was found and done as JSON")


def export(options: argparse.Namespace) -> int:
    """``curate export``."""
    from curate.api import open_run
    from curate.report.outcomes import exported

    written = open_run(options.workspace).export(options.to, options.format)
    return output(written.as_dict(), exported, options.json)


def verify(options: argparse.Namespace) -> int:
    """``curate verify``."""
    from curate.report.outcomes import verification
    from curate.verify.verify import verify as check

    say = None if options.json else lambda text: print(text, file=sys.stderr, flush=True)
    report = check(options.workspace, say=say)
    output(report.as_dict(), verification, options.json)
    return 1 if report.faults else 0


def clean(options: argparse.Namespace) -> int:
    """``curate clean``."""
    from curate.driver.clean import clean as sweep
    from curate.report.outcomes import garbage

    return output(sweep(options.workspace, keep=options.keep, remove=options.yes), garbage, as_json=False)


def remove(options: argparse.Namespace) -> int:
    """``curate remove``."""
    from curate.api import remove as take_down
    from curate.engine.progress import choose_progress
    from curate.report.outcomes import removal

    ids = [line.strip() for line in text_of(options.ids).splitlines() if line.strip()] if options.ids else []
    like = text_of(options.like) if options.like else ""
    done = take_down(
        options.workspace,
        ids=ids,
        where=options.where or "",
        like=like,
        by=options.by,
        reason=options.reason,
        apply=options.yes,
        cpus=options.cpus,
        address=options.address,
        progress=choose_progress(as_json=False) if options.yes and not options.json else None,
    )
    return output(done, removal, options.json)
