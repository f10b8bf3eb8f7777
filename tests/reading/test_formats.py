"""The choice of a reader, and plain text files."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from curate.base.errors import InputError
from curate.reading import formats, records
from curate.reading.formats import Format, Options, format_of, has_known_type, text
from curate.reading.records import Batch


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.jsonl", Format("jsonl", None)),
        ("s3://bucket/x.y/a.jsonl.gz", Format("jsonl", "gzip")),
        ("a.jsonl.zst", Format("jsonl", "zstd")),
        ("A.JSONL.ZST", Format("jsonl", "zstd")),
        ("a.ndjson", Format("jsonl", None)),
        ("c4-train.00000-of-01024.json.gz", Format("jsonl", "gzip")),
        ("a.parquet", Format("parquet", None)),
        ("a.txt", Format("text", None)),
        ("a.md.gz", Format("text", "gzip")),
        ("a.txt.zst", Format("text", "zstd")),
        ("a.html", Format("html", None)),
        ("A.HTM.gz", Format("html", "gzip")),
        ("a.warc.gz", Format("warc", "gzip")),
        ("CC-MAIN-0.warc.wet.gz", Format("warc", "gzip")),
    ],
)
def test_the_extension_says_the_format(path: str, expected: Format) -> None:
    assert format_of(path) == expected


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a.csv", ".jsonl, .ndjson"),
        ("folder.jsonl/a", "unknown file type"),
        ("jsonl", "unknown file type"),
        ("a.gz", "unknown file type"),
        ("a.warc.wat.gz", "take the WARC or WET file"),
        ("a.parquet.gz", "decompress"),
    ],
)
def test_an_unknown_extension_is_an_error_that_helps(path: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        format_of(path)
    assert str(error.value).startswith(path)
    assert says in str(error.value)


def test_data_and_documents() -> None:
    names = ["a.jsonl.gz", "a.parquet", "a.wet", "a.md", "a.html"]
    assert [name for name in names if formats.is_data(name)] == names[:3]


def test_known_types() -> None:
    names = ["a.jsonl", "b/c.md", "a.csv", "a.warc.wat.gz", "a.parquet.gz"]
    assert [name for name in names if has_known_type(name)] == ["a.jsonl", "b/c.md"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.txt", "a.md.gz", "a.txt.zst"])
@pytest.mark.parametrize("native", [True, False])
def test_every_format_is_read_from_python_and_arrow_files(tmp_path: Path, name: str, native: bool) -> None:
    place = tmp_path / name
    line = b'{"text": "caf\xc3\xa9"}\n' if "jsonl" in name else b"caf\xc3\xa9"
    if name.endswith(".parquet"):
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"text": ["café"]}), place)
    else:
        compress = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(place.suffix, bytes)
        place.write_bytes(compress(line))
    with pa.OSFile(str(place), "rb") if native else place.open("rb") as file:
        (batch,) = formats.read(file, f"anything/{name}")
    assert batch.texts.to_pylist() == ["café"]
    assert batch.positions.tolist() == [0]


def one(data: bytes, **options: object) -> Batch:
    (batch,) = text.ENTRY.read(io.BytesIO(data), options=Options(**options))  # type: ignore[arg-type]
    return batch


def test_a_text_file_is_one_document_as_it_is() -> None:
    batch = one(b"\xef\xbb\xbf---\r\ntitle: x\r\n---\r\n\nText\n")
    assert (batch.positions.tolist(), batch.ids, batch.metas, batch.rejects) == ([0], [None], [None], [])
    assert batch.texts.to_pylist() == ["---\r\ntitle: x\r\n---\r\n\nText\n"]


@pytest.mark.parametrize(
    ("data", "compression", "reason"),
    [
        (b"", None, records.EMPTY_TEXT),
        (b" \n\xc2\xa0", None, records.EMPTY_TEXT),
        (b"caf\xe9", None, records.INVALID_UTF8),
        ("ä".encode("utf-16")[:-1], None, records.TRUNCATED),
        (b"\xff\xfe\x00\xd8a\x00", None, records.INVALID_UTF8),
        (b"a" * 101, None, records.TOO_LARGE),
        (gzip.compress(b"a" * 10_000_000, mtime=0), "gzip", records.TOO_LARGE),
        (gzip.compress(b"half a document is none", mtime=0)[:-3], "gzip", records.TRUNCATED),
        (b"", "zstd", records.TRUNCATED),
        (b"never compressed", "zstd", records.CORRUPT),
    ],
)
def test_a_bad_text_file_is_one_reject(data: bytes, compression: str | None, reason: str) -> None:
    batch = one(data, compression=compression, max_document_bytes=100)
    assert len(batch.texts) == 0
    assert [(reject.position, reject.reason) for reject in batch.rejects] == [(0, reason)]


def test_a_text_file_in_utf_16_is_read() -> None:
    for name in ("utf-16", "utf-32"):
        assert one("ä\n😀".encode(name)).texts.to_pylist() == ["ä\n😀"]


def test_a_text_file_that_is_too_large_is_not_read_to_its_end() -> None:
    file = io.BytesIO(b"a" * 10_000_000)
    (batch,) = text.ENTRY.read(file, options=Options(max_document_bytes=100))
    assert batch.rejects[0].reason == records.TOO_LARGE
    assert file.tell() < 3_000_000


def test_limits_of_a_text_file() -> None:
    assert len(one(b"a" * 100, max_document_bytes=100).texts) == 1
    assert len(one(b"\xef\xbb\xbf" + b"a" * 100, max_document_bytes=100).texts) == 1
    assert list(text.ENTRY.read(io.BytesIO(b"a"), options=Options(limit=0))) == []


def test_reading_starts_no_ray() -> None:
    import subprocess
    import sys

    code = "import sys, curate.reading.formats, curate.reading.units, curate.reading.demo; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
