"""The command line: each command is a few lines over one function of the library, imported when it is used.

Exit codes: 0 done; 1 failed while running, or ``verify`` found a fault; 2 the request was wrong; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from curate.base.errors import CurateError
from curate.base.versions import __version__
from curate.cli import keeping, looking, running, training


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(interrupted(options.command), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would flush stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def interrupted(command: str) -> str:
    """What is said after Ctrl-C."""
    if command in ("run", "demo"):
        return "\nstopped; what is finished is kept, and the same command goes on from there"
    return "\nstopped"


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="curate",
        description="From raw text to ordered, packed, long-context training shards, every token and every removal explained.",
    )
    parser.add_argument("--version", action="version", version=f"curate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def command(
        name: str, function: Callable[[argparse.Namespace], int], summary: str, more: str = ""
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=summary, description=(summary[0].upper() + summary[1:] + ". " + more).strip()
        )
        added.set_defaults(run=function)
        return added

    for module in (running, training, looking, keeping):
        module.add(command)
    return parser
