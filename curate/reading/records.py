"""What every reader yields: batches of accepted records, and a row for each record that could not be read.

A record's *position* is its 0-based number in the decompressed file. Rejected records are counted, so that mending one
record never moves the others; blank lines between records are not records and are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BATCH_BYTES = 16_000_000
"""A batch is handed on once its records take about this many bytes in the file."""

MAX_DOCUMENT_BYTES = 1_000_000_000
"""A longer text (UTF-8 bytes) is rejected; the recipe's ``ingest.max_document_bytes``."""

SNIPPET_CHARS = 200
"""Longest snippet of a rejected record, as the ``rejects`` table promises."""

INVALID_JSON = "invalid_json"
NOT_AN_OBJECT = "not_an_object"
MISSING_TEXT = "missing_text"
NULL_TEXT = "null_text"
EMPTY_TEXT = "empty_text"
TEXT_NOT_A_STRING = "text_not_a_string"
INVALID_UTF8 = "invalid_utf8"
LONE_SURROGATE = "lone_surrogate"
TOO_LARGE = "too_large"
TRUNCATED = "truncated"
CORRUPT = "corrupt"
NOT_TEXT = "not_text"
BAD_ENCODING = "bad_encoding"
EXTRACTION_FAILED = "extraction_failed"
REMOVED_ON_REQUEST = "removed_on_request"

REASONS: Mapping[str, str] = {
    INVALID_JSON: "the line is not JSON, is nested deeper than 200 levels, or holds a number of more than 4,300 digits",
    NOT_AN_OBJECT: "the line is JSON, but not an object",
    MISSING_TEXT: "the record has no text field",
    NULL_TEXT: "the text field is null",
    EMPTY_TEXT: "the text is empty or whitespace only",
    TEXT_NOT_A_STRING: "the text field is a number, a list or something else that is not a string",
    INVALID_UTF8: "the bytes are not UTF-8",
    LONE_SURROGATE: "the text or the id holds half of a surrogate pair (an escape such as \\ud800)",
    TOO_LARGE: (
        "the text is longer than max_document_bytes, or the whole line than three times that and 16 MB; for Parquet, one of "
        "the rows that the snippet names takes more memory than twice that and 256 MB"
    ),
    TRUNCATED: "the file ends too early; records before this position were read",
    NOT_TEXT: "the page of a web archive is neither HTML nor plain text",
    BAD_ENCODING: "the page of a web archive is not in the encoding that its headers name, or in an unknown one",
    EXTRACTION_FAILED: "the HTML of the page could not be parsed",
    REMOVED_ON_REQUEST: "the document was taken down (`curate remove`)",
    CORRUPT: "the file is damaged from here on; for Parquet, the rows that the snippet names",
}
"""Reason of a reject → its meaning in one line."""


class Readable(Protocol):
    """A binary file that is open for reading: a Python file or a ``pyarrow.NativeFile``."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""


class Fields(NamedTuple):
    """Names of the fields that hold the text, the user's own id (None: records have no id), and a vector, if one is read.

    A vector that is read as JSON stays in the meta; ``reading.vectors`` takes it from there.
    """

    text: str = "text"
    id: str | None = "id"
    vector: str | None = None


DEFAULT_FIELDS = Fields()


class Span(NamedTuple):
    """A part of a file: bytes [start, stop) of JSON Lines, or row groups [start, stop) of Parquet."""

    start: int
    stop: int


class Reject(NamedTuple):
    """A record that could not be read: its position, a key of :data:`REASONS`, and how it begins."""

    position: int
    reason: str
    snippet: str


class Batch(NamedTuple):
    """n accepted records in the order of the file, and the rejects met among them.

    Attributes:
        positions: int64[n], ascending.
        ids: the user's own id of each record, None where it has none.
        texts: large_string[n] without nulls.
        metas: JSON object of each record's remaining fields in the file's order, None where nothing remains.
        rejects: ascending by position; positions of a batch lie between those of the batches around it.
        vectors: list<float32>[n] of a Parquet file, when they are read.
    """

    positions: NDArray[np.int64]
    ids: list[str | None]
    texts: pa.LargeStringArray
    metas: list[str | None]
    rejects: list[Reject]
    vectors: pa.ListArray | None = None


class BatchBuilder:
    """Collects records one by one into a :class:`Batch`."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.size = 0
        self._positions: list[int] = []
        self._ids: list[str | None] = []
        self._data = bytearray()
        self._ends: list[int] = [0]
        self._metas: list[str | None] = []
        self._rejects: list[Reject] = []

    def add(self, position: int, own_id: str | None, text: bytes, meta: str | None, size: int) -> None:
        """Append an accepted record, whose ``text`` is UTF-8 and that took ``size`` bytes in the file."""
        self._positions.append(position)
        self._ids.append(own_id)
        self._data += text
        self._ends.append(len(self._data))
        self._metas.append(meta)
        self.size += size

    def reject(self, position: int, reason: str, begin: bytes | str, at: int = 0) -> None:
        """Append a reject; ``begin`` is cut to a snippet that shows character ``at``."""
        text = snippet(begin, at)
        self._rejects.append(Reject(position, reason, text))
        self.size += len(text)

    def __bool__(self) -> bool:
        return bool(self._positions or self._rejects)

    def take(self) -> Batch:
        """The batch so far; the builder is empty afterwards."""
        # One growing buffer, not pa.array(list of str): no text is held twice, and pyarrow does not import pandas.
        ends = pa.py_buffer(np.array(self._ends, np.int64))
        texts = pa.LargeStringArray.from_buffers(len(self._positions), ends, pa.py_buffer(self._data))
        batch = Batch(np.array(self._positions, np.int64), self._ids, texts, self._metas, self._rejects)
        self._clear()
        return batch


def snippet(begin: bytes | str, at: int = 0) -> str:
    """At most 200 characters of a record, always valid and printable text.

    They are the record's first ones, or, when character ``at`` lies behind those, ones around it after an ellipsis.
    What is not UTF-8 and what does not print (a terminal could act on it) becomes U+FFFD, white space a space.
    """
    start = 0 if at < SNIPPET_CHARS - 50 else at - SNIPPET_CHARS // 2
    if isinstance(begin, bytes):
        begin = begin[: 4 * (start + SNIPPET_CHARS)].decode("utf-8", "replace")
    text = ("…" + begin[start : start + SNIPPET_CHARS - 1]) if start else begin[:SNIPPET_CHARS]
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def own_id(value: object) -> str | None:
    """The user's id as text: a string that is not empty, or an integer; None for every other value."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
