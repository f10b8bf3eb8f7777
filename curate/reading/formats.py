"""Which reader a file gets: its name's extension says it, in upper or lower case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from curate.base.errors import InputError
from curate.reading import jsonl, pages, parquet, text, warc
from curate.reading.records import BATCH_BYTES, DEFAULT_FIELDS, MAX_DOCUMENT_BYTES, Batch, Fields, Span
from curate.reading.spans import LineSpan

Kind = Literal["jsonl", "parquet", "text", "html", "warc"]

EXTENSIONS: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",  # C4 and others name their JSON Lines so
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".warc": "warc",
    ".wet": "warc",
}
COMPRESSIONS: dict[str, str] = {".gz": "gzip", ".zst": "zstd"}


class Format(NamedTuple):
    """How a file is read."""

    kind: Kind
    compression: str | None


def format_of(path: str) -> Format:
    """The format of the file at ``path`` (a path, a URL or a bare name).

    Raises:
        InputError: the extension is not known; the message lists those that are.
    """
    name = path.rsplit("/", 1)[-1].lower()
    compression = None
    for extension, codec in COMPRESSIONS.items():
        if name.endswith(extension):
            name, compression = name.removesuffix(extension), codec
    if name.endswith(".wat"):
        raise InputError(f"{path}: WAT files describe pages but do not hold their text; take the WARC or WET file")
    kind = next((kind for extension, kind in EXTENSIONS.items() if name.endswith(extension)), None)
    if kind is None:
        raise InputError(
            f"{path}: unknown file type; known are {', '.join(EXTENSIONS)}; all but .parquet may end in .gz or .zst"
        )
    if kind == "parquet" and compression is not None:
        raise InputError(
            f"{path}: a compressed Parquet file cannot be read by parts; decompress it (Parquet compresses by itself)"
        )
    return Format(kind, compression)


def is_known(path: str) -> bool:
    """Whether a file found in a folder is an input: of a known type, and neither hidden nor in a hidden folder."""
    if any(part.startswith(".") for part in path.split("/")):
        return False
    try:
        format_of(path)
    except InputError:
        return False
    return True


def read(
    file: Any,
    path: str,
    fields: Fields = DEFAULT_FIELDS,
    *,
    batch_bytes: int = BATCH_BYTES,
    limit: int | None = None,
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    span: Span | None = None,
    first: int = 0,
) -> Iterator[Batch]:
    """Batches of the records in ``file``, by the reader that ``path`` names.

    Args:
        file: binary, open at its beginning; for Parquet with random access. It is left open.
        path: where the file came from; only its extension matters.
        fields: which fields hold the text and the id.
        batch_bytes: bytes of a batch, about; it changes nothing but where batches end.
        limit: records to read, rejected ones counted.
        max_document_bytes: longest text in UTF-8 bytes.
        span: the part of the file to read (:func:`can_be_cut`); the whole file when None.
        first: records of the file before the span.

    Raises:
        InputError: the extension is not known.
    """
    kind, compression = format_of(path)
    options: dict[str, Any] = {"batch_bytes": batch_bytes, "limit": limit, "max_document_bytes": max_document_bytes}
    if kind == "parquet":
        return parquet.read(file, fields, groups=span, **options)
    if kind == "jsonl":
        lines = file if span is None else LineSpan(file, span)
        return jsonl.read(lines, fields, compression=compression, first=first, **options)
    reader = {"text": text.read, "html": pages.read, "warc": warc.read}[kind]
    return reader(file, fields, compression=compression, **options)


def can_be_cut(path: str, size: int, span_bytes: int) -> bool:
    """Whether a file of ``size`` bytes is read in several spans of about ``span_bytes``."""
    kind, compression = format_of(path)
    return size >= 2 * span_bytes and (kind == "parquet" or (kind == "jsonl" and compression is None))
