"""What the commands share: common arguments, and how a result is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

from curate.base.catalog import STAGES
from curate.base.errors import RequestError

if TYPE_CHECKING:
    from curate.report.statistics import Section

T = TypeVar("T")

STAGE_LIST = ", ".join(STAGES)
"""Names of the stages, for help texts."""


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


def output(value: T, sections: Callable[[T], Iterable[Section]], as_json: bool) -> int:
    """Print ``value`` as JSON, or as ``sections`` lays it out; returns the exit code 0.

    Objects in ``value`` become JSON by their ``as_dict``.
    """
    if as_json:
        print(json.dumps(value, indent=1, ensure_ascii=False, default=lambda part: part.as_dict()))
    else:
        from curate.report.statistics import show

        show(sections(value))
    return 0
