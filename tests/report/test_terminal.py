"""What commands print: aligned tables, texts as they are, plain in a pipe."""

from __future__ import annotations

import io

import pytest

from curate.report.statistics import Styled, Table, show

SECTIONS = [
    Table("Numbers", ("name", "value"), [("[bold]x[/]", 1_234_567), (":smile:", None)]),
    Styled((("id [red]", "bold"), (" is kept", "green"))),
    "a line with [brackets] and :smile:",
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_plain_text_as_it_is() -> None:
    out = io.StringIO()
    show(SECTIONS, out)
    assert out.getvalue().splitlines() == [
        "Numbers",
        "name            value",
        "[bold]x[/]  1,234,567",
        ":smile:",
        "",
        "id [red] is kept",
        "",
        "a line with [brackets] and :smile:",
    ]


def test_a_terminal_gets_rules_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    show(SECTIONS, out)
    printed = out.getvalue()
    assert "──" in printed
    assert "\x1b[1mid [red]\x1b[0m\x1b[32m is kept\x1b[0m" in printed
    assert "[bold]x[/]" in printed
