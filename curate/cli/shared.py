"""What the commands share: how their arguments are declared, and how a result is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from curate.base.catalog import STAGES
from curate.base.errors import RequestError
from curate.base.side_files import decode_side_file
from curate.base.terminal import printable

if TYPE_CHECKING:
    from curate.report.statistics import Section

T = TypeVar("T")

STAGE_LIST = ", ".join(STAGES)
"""Names of the stages, for help texts."""


class Command(Protocol):
    """What a command does; its docstring is its help. Returns the exit code."""

    __name__: str

    def __call__(self, options: argparse.Namespace) -> int: ...


class CommandParser(argparse.ArgumentParser):
    """The parser of one command."""

    def value(self, names: str, metavar: str | None, help: str, **settings: Any) -> CommandParser:
        """An argument with a value; ``names`` are separated by a space, ``settings`` those of ``add_argument``."""
        self.add_argument(*names.split(), metavar=metavar, help=help, **settings)
        return self

    def values(self, name: str, metavar: str, help: str, **settings: Any) -> None:
        """An option with a list of values, which may be given several times."""
        self.value(name, metavar, help, nargs="+", action="extend", **{"default": [], **settings})

    def flag(self, name: str, help: str) -> None:
        """An option without a value."""
        self.add_argument(name, action="store_true", help=help)

    def workspace(self) -> CommandParser:
        """The argument WORKSPACE."""
        return self.value("workspace", "WORKSPACE", "a finished run: a folder or s3://bucket/prefix")

    def recipe(self, **settings: Any) -> CommandParser:
        """The argument RECIPE."""
        return self.value("recipe", "RECIPE", "a YAML file", **settings)

    def changes(self) -> None:
        """The option --set."""
        self.values("--set", "KEY=VALUE", "change fields of the recipe: pack.window=4096", dest="changes")


AddCommand = Callable[[Command], CommandParser]
"""Adds a command to the parser of all; its arguments are declared on the parser that it returns."""


def natural(text: str) -> int:
    """A whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def text_of(file: str) -> str:
    """A text file, or standard input for ``-``.

    Raises:
        RequestError: it cannot be read, or is not UTF-8.
    """
    try:
        if file == "-":
            return decode_side_file(sys.stdin.buffer.read(), "standard input")
        with open(file, "rb") as opened:
            return decode_side_file(opened.read(), file)
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}") from None


def output(value: T, sections: Callable[[T], Iterable[Section]], as_json: bool) -> int:
    """Print ``value`` as JSON, or as ``sections`` lays it out; returns the exit code 0.

    Objects in ``value`` become JSON by their ``as_dict``.
    """
    if as_json:
        print(printable(json.dumps(value, indent=1, ensure_ascii=False, default=lambda part: part.as_dict())))
    else:
        from curate.report.statistics import show

        show(sections(value))
    return 0
