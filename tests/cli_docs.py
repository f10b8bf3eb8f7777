"""The `--help` blocks and the examples of docs/cli.md: `python -m tests.cli_docs` writes them anew."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from tests import cli_examples

PAGE = Path(__file__).parent.parent / "docs/cli.md"
_BLOCK = re.compile(r"```text\n\$ curate (?P<command>[a-z-]+ )?--help\n(?P<text>.*?)```", re.DOTALL)


def help_of(command: str) -> str:
    """What ``curate COMMAND --help`` prints at a width of 100."""
    os.environ["COLUMNS"] = "100"
    from curate.cli import make_parser

    parser = make_parser()
    [subparsers] = [action for action in parser._actions if action.choices is not None]
    return (subparsers.choices[command] if command else parser).format_help()  # type: ignore[index]


def commands() -> list[str]:
    """Every command, and the empty one."""
    from curate.cli import make_parser

    [subparsers] = [action for action in make_parser()._actions if action.choices is not None]
    return ["", *subparsers.choices]  # type: ignore[list-item]


def blocks(page: str) -> dict[str, str]:
    """Command → the help that the page shows."""
    return {(match["command"] or "").strip(): match["text"] for match in _BLOCK.finditer(page)}


def renewed(page: str) -> str:
    """The page with current blocks."""
    return _BLOCK.sub(
        lambda match: (
            f"```text\n$ curate {match['command'] or ''}--help\n{help_of((match['command'] or '').strip())}```"
        ),
        page,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        page = cli_examples.renewed(renewed(PAGE.read_text(encoding="utf-8")), Path(folder))
    PAGE.write_text(page, encoding="utf-8")
