"""Lists and texts beside a corpus, as editors and programs write them (more in tests/reading/odd_files.py)."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from curate.base.errors import RequestError
from curate.base.side_files import decode_side_file, entries, read_side_file


def test_remarks() -> None:
    text = "# all\r\na.example\r\n  b.example # adverts\r\nc.example/#top\r\n#d.example\r\nid #5\r\n"
    assert entries(text) == ["a.example", "b.example", "c.example/#top", "id"]
    assert entries(text, with_spaces=True) == ["a.example", "b.example", "c.example/#top", "#d.example", "id #5"]


def test_only_line_ends_end_a_line() -> None:
    assert entries("a\x0bb\x1c\u2028c\n\nd") == ["a\x0bb\x1c\u2028c", "d"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"ab\xffc", "the list x is not UTF-8 (byte 2)"),
        (gzip.compress(b"abc", mtime=0)[:-3], "the list x: it is damaged"),
        (b"\x28\xb5\x2f\xfdxxxx", "the list x: it is damaged"),
        (b"\xff\xfea", "the list x is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_an_error(data: bytes, says: str) -> None:
    with pytest.raises(RequestError) as error:
        decode_side_file(data, "the list x")
    assert says in str(error.value)


def test_a_fifo_is_an_error_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list")
    for name in ("list", "none"):
        with pytest.raises(RequestError, match="cannot read the block list"):
            read_side_file(str(tmp_path / name), "the block list")
