"""Snippets, ids, and the page that explains the rejects."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.reading import formats, records
from curate.reading.records import own_id, snippet


@given(st.binary(max_size=1_500) | st.text(st.characters(), max_size=700), st.integers(0, 900))
def test_a_snippet_is_short_valid_text(begin: bytes | str, at: int) -> None:
    text = snippet(begin, at)
    assert len(text) <= 200
    assert text.isprintable()
    text.encode()


def test_a_snippet_shows_the_beginning_or_the_place() -> None:
    assert snippet("a\tb\n\x1b") == "a b \ufffd"
    assert snippet("x" * 300) == "x" * 200
    assert snippet(b"x" * 1_000 + b"HERE" + b"y" * 1_000, 1_000)[100:106] == "xHEREy"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), ("", None), (7, "7"), (-1, "-1"), (0, "0"), (True, None), (1.0, None), (None, None), ([], None)],
)
def test_own_id(value: object, expected: str | None) -> None:
    assert own_id(value) == expected


def test_the_page_lists_every_reason_and_every_extension() -> None:
    page = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
    for reason, meaning in records.REASONS.items():
        assert f"| `{reason}` | {meaning.replace(chr(92) + 'ud800', f'`{chr(92)}ud800`')} |" in page
    for extension in (*formats.extensions(), *formats.COMPRESSIONS):
        assert f"`{extension}`" in page
