"""Nothing that a corpus holds acts on a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.errors import RequestError
from curate.base.terminal import printable
from curate.cli import main
from curate.cli.shared import output
from curate.engine.progress import choose_progress
from curate.report.statistics import Styled, Table, show

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\x9b2J\u202egnp\u2028\ud800"


@settings(max_examples=40)
@given(st.text(st.characters(), max_size=60))
def test_what_is_printed_is_harmless_and_still_json(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c in "\n\t" or ord(c) >= 0xA0 for c in shown)
    shown.encode()
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_every_way_to_print(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    show([HOSTILE, Styled(((HOSTILE, "bold"),)), Table(HOSTILE, (HOSTILE, "n"), [(HOSTILE, 1)])])
    output({"id": HOSTILE}, lambda value: [], as_json=True)
    choose_progress(as_json=False).say(HOSTILE)

    def fail(*_: object) -> None:
        raise RequestError(HOSTILE)

    monkeypatch.setattr("curate.finished_run.Run", fail)
    monkeypatch.setattr("curate.open", fail)
    assert main(["stats", "nowhere"]) == 2
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert "\\u001b[31mred" in text
        assert not set(text) & set("\x1b\x07\r\x9b\u202e\u2028\ud800")
