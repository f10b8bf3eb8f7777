"""Which encoding a page is in (all encodings, right and wrong labels: tests/reading/odd_files.py)."""

from __future__ import annotations

import pytest

from curate.reading.charsets import codec_of, decode_page


@pytest.mark.parametrize(
    ("page", "server", "expected"),
    [
        (b"plain", "shift_jis", "plain"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "windows-1251", "café"),
        (b'<meta charset="windows-1252">caf\xc3\xa9', None, '<meta charset="windows-1252">café'),
        (b"\x93caf\xe9\x94 \x80", "iso-8859-1", "“café” €"),
        (b"\x81caf\xe9", "iso-8859-1", "\x81café"),
        (b"<meta charset=koi8-r>\xc4\xc1", "utf-8", "<meta charset=koi8-r>да"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=windows-1251>\xe4\xe0", None, None),
        (b'<?xml version="1.0" encoding="windows-1251"?>\xe4\xe0', None, None),
        (b"\x1b$B$$\x1b(B", None, "い"),
        (b"\x1b$B$$\x1b(B", "iso-2022-jp", "い"),
        (b"one bad \xff byte", "utf-8", "one bad \ufffd byte"),
        ("ä ö ü".encode() + b"\xe2\x80", "latin-1", "ä ö ü\ufffd"),
        ("ä ö ü".encode() + b" \xe9 x", "windows-1252", "ä ö ü \ufffd x"),
        ("<p>wide ä</p>".encode("utf-16-le"), None, "<p>wide ä</p>"),
        ("<p>wide ä</p>".encode("utf-16-be"), "utf-8", "<p>wide ä</p>"),
    ],
)
def test_pages(page: bytes, server: str | None, expected: str | None) -> None:
    found = decode_page(page, server)
    assert found == expected if expected is not None else found.endswith("да")


def test_labels_mean_what_the_standard_says() -> None:
    labels = {
        "latin1": "cp1252",
        "ISO-8859-1": "cp1252",
        "gb2312": "gb18030",
        "x-sjis": "cp932",
        "KS_C_5601-1987": "cp949",
    }
    assert {label: codec_of(label) for label in labels} == labels
    assert [codec_of(label) for label in ("nonsense", "rot13", "utf-7", "idna")] == [None] * 4


@pytest.mark.parametrize("page", [b"", b"\xff", b"\xff\xfe\xfd", b"\xef\xbb\xbf", b"\x00" * 50, bytes(range(256)) * 3])
def test_any_bytes_are_a_text(page: bytes) -> None:
    for server in (None, "utf-8", "utf-16", "iso-2022-jp", "gb18030", "nonsense"):
        decode_page(page, server).encode("utf-8", "surrogatepass")
