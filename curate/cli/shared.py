"""What the commands share: common arguments, and how a result is printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import IO, Any, Protocol

from curate.base.errors import RequestError

STAGES = "ingest quality dedup tokenize embed cluster order upsample synthetic pack shards ledger"


class AddCommand(Protocol):
    """Adds one command to the parser: its name, its function, a summary for the list, and more for its own help."""

    def __call__(
        self, name: str, function: Callable[[argparse.Namespace], int], summary: str, more: str = ""
    ) -> argparse.ArgumentParser: ...


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """The argument WORKSPACE."""
    parser.add_argument("workspace", metavar="WORKSPACE", help="a finished run: a folder or s3://bucket/prefix")


def add_set(parser: argparse.ArgumentParser) -> None:
    """The option --set."""
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="change fields of the recipe: pack.window=4096",
    )


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def natural(text: str) -> int:
    """A whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def text_of(file: str) -> str:
    """A text file, or standard input for ``-``.

    Raises:
        RequestError: it cannot be read, or is not UTF-8.
    """
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(file, "rb") as opened:
            return opened.read().decode("utf-8")
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not UTF-8 (byte {error.start}); convert it first") from None


def output(value: Any, sections: Callable[..., Any], as_json: bool, out: IO[str] | None = None) -> None:
    """``value`` as JSON, or as text laid out by ``sections``."""
    if as_json:
        import json

        print(json.dumps(value, indent=1, ensure_ascii=False), file=out or sys.stdout)
        return
    from curate.report.render import console, show

    show(sections(value, plain=not console(out).is_terminal), out)
