"""The command line: each command is a few lines over one function of the library, imported when it is used.

The docstring of a command's function is its help. Exit codes: 0 done; 1 failed while running, stopped by an
alarm, or ``verify`` found a fault; 2 the request was wrong; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Sequence

from curate.base.errors import CurateError
from curate.base.terminal import printable
from curate.base.versions import __version__
from curate.cli import fitting, keeping, looking, running
from curate.cli.shared import Command, CommandParser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = make_parser()
    options = parser.parse_args(_with_dashed_id(sys.argv[1:] if arguments is None else list(arguments)))
    if options.command is None:
        parser.print_help()
        return 2
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except CurateError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        goes_on = "; what is finished is kept, and the same command goes on from there"
        print(f"\nstopped{goes_on if options.command in ('run', 'demo') else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would flush stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _with_dashed_id(arguments: list[str]) -> list[str]:
    """The arguments of ``explain`` with an id that begins with a hyphen where argparse takes it for no option."""
    if arguments[:1] != ["explain"] or "--" in arguments:
        return arguments
    ids = [one for one in arguments if one.startswith("-") and one not in ("-h", "--help", "--json")]
    return [*(one for one in arguments if one not in ids), "--", *ids] if ids else arguments


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="curate",
        description="From raw text to ordered, packed, long-context training shards, every token and every removal explained.",
    )
    parser.add_argument("--version", action="version", version=f"curate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=CommandParser)

    def command(function: Command) -> CommandParser:
        text = inspect.getdoc(function) or ""
        summary = " ".join(text.partition("\n\n")[0].split()).removesuffix(".")
        added = commands.add_parser(
            function.__name__.replace("_", "-"),
            help=summary[:1].lower() + summary[1:],
            description=" ".join(text.split()),
        )
        added.set_defaults(run=function)
        return added

    for module in (running, fitting, looking, keeping):
        module.add(command)
    return parser
