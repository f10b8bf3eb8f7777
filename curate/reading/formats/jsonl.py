"""JSON Lines: one JSON object a line, in UTF-8, plain or compressed.

Tolerated, because real files have them: a byte order mark, ``\\r\\n``, blank lines, a last line without a newline, and
``NaN`` and ``Infinity`` (null in the meta). Of a key that is there twice the last value counts. The meta keeps the
file's order of fields and Python's spelling of numbers: integers of any size exactly, others as float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from curate.reading.formats import DEFAULT_OPTIONS, Options, Reader
from curate.reading.records import (
    BATCH_BYTES,
    DEFAULT_FIELDS,
    EMPTY_TEXT,
    INVALID_JSON,
    INVALID_UTF8,
    LONE_SURROGATE,
    MAX_DOCUMENT_BYTES,
    MISSING_TEXT,
    NOT_AN_OBJECT,
    NULL_TEXT,
    TEXT_NOT_A_STRING,
    TOO_LARGE,
    Batch,
    BatchBuilder,
    Fields,
    Span,
    own_id,
)
from curate.reading.spans import LineSpan, count_lines, line_spans
from curate.reading.streams import BOM, Stream

MAX_DEPTH = 200
"""Levels of nesting in the remaining fields. Python's own limit depends on its caller, which must not decide."""

_MISSING = object()
_EXACT_FLOATS = 2.0**63

_decode: Callable[[str], Any] = json.JSONDecoder(parse_constant=lambda _: None).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class Record(NamedTuple):
    """An accepted line; the text is UTF-8."""

    id: str | None
    text: bytes
    meta: str | None


class Fault(NamedTuple):
    """Why a line was not accepted, and at which character, where that is known."""

    reason: str
    at: int = 0


def _lines(stream: Stream, max_line: int) -> Iterator[tuple[list[bytes], bool]]:
    """(lines without newline, whether they had one); a line above ``max_line`` is cut to ``max_line + 1`` bytes."""
    begun: list[bytes] = []
    held = 0
    mark = BOM
    for block in stream:
        pieces = block.split(b"\n")
        if held <= max_line:
            begun.append(pieces[0])
            held += len(pieces[0])
        if len(pieces) == 1:
            continue
        pieces[0] = b"".join(begun)[: max_line + 1].removeprefix(mark)
        mark = b""
        begun = [pieces.pop()]
        held = len(begun[0])
        yield pieces, True
    yield [b"".join(begun)[: max_line + 1].removeprefix(mark)], False


def parse(line: bytes, fields: Fields = DEFAULT_FIELDS, max_document_bytes: int = MAX_DOCUMENT_BYTES) -> Record | Fault:
    """The record in one line, or why it is none."""
    try:
        record = _load(line)
    except UnicodeDecodeError as error:
        return Fault(INVALID_UTF8, error.start)
    except json.JSONDecodeError as error:
        return Fault(INVALID_JSON, error.pos)
    except (ValueError, RecursionError):
        return Fault(INVALID_JSON)
    if type(record) is not dict:
        return Fault(NOT_AN_OBJECT)
    text = record.pop(fields.text, _MISSING)
    if type(text) is not str:
        return Fault(MISSING_TEXT if text is _MISSING else NULL_TEXT if text is None else TEXT_NOT_A_STRING)
    if not text or text.isspace():
        return Fault(EMPTY_TEXT)
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        return Fault(LONE_SURROGATE, error.start)
    if len(data) > max_document_bytes:
        return Fault(TOO_LARGE)
    name = None
    if fields.id is not None and (name := own_id(record.get(fields.id))) is not None:
        if not _encodable(name):
            return Fault(LONE_SURROGATE)
        del record[fields.id]
    if not record:
        return Record(name, data, None)
    try:
        meta = encode_meta(record)
    except RecursionError:
        return Fault(INVALID_JSON)
    if meta.count("[") + meta.count("{") > MAX_DEPTH and _depth(record) > MAX_DEPTH:
        return Fault(INVALID_JSON)
    return Record(name, data, meta)


def _load(line: bytes) -> Any:
    """The value in one line, as Python's own parser reads it.

    orjson is several times faster. What it refuses (NaN, lone surrogates, great depth, bad bytes) is for the other one
    to say, and so are integers beyond 64 bits, of which it makes floats.

    Raises:
        ValueError: the line is not JSON, or not UTF-8.
        RecursionError: it is too deep.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode(line.decode())
    if type(record) is dict:
        for value in record.values():
            if type(value) is not str and not _is_exact(value):
                return _decode(line.decode())
    return record


def _is_exact(value: Any) -> bool:
    """Whether no number in ``value`` can be an integer that became a float."""
    if type(value) is float:
        return -_EXACT_FLOATS < value < _EXACT_FLOATS
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return True
    return all(_is_exact(item) for item in value)


def encode_meta(record: dict[str, Any]) -> str:
    """``record`` as compact JSON that every parser reads: NaN and infinities as null, lone surrogates as escapes."""
    try:
        meta = _encode(record)
    except ValueError:
        record = _finite(record)
        meta = _encode(record)
    return meta if _encodable(meta) else _encode_ascii(record)


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: Any) -> Any:
    """``value`` with NaN and infinities (``1e999`` is one) replaced by None."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _depth(value: Any) -> int:
    """Levels of nesting of lists and objects; without recursion, as the value may be deep."""
    level = [value]
    depth = 0
    while level := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


class JsonLinesReader(Reader):
    """JSON Lines, a document a line."""

    name = "jsonl"
    extensions = (".jsonl", ".ndjson", ".json")  # C4 and others name their JSON Lines .json
    has_records = True
    has_fields = True

    def read(self, file: Any, fields: Fields = DEFAULT_FIELDS, options: Options = DEFAULT_OPTIONS) -> Iterator[Batch]:
        """Batches of the records in ``file``, in its order.

        Memory is bounded by ``batch_bytes`` and the longest line, and a line that could only hold a document above
        ``max_document_bytes`` is never held whole. An id that is neither a string nor an integer stays in the meta. Damage of a
        compressed file gives one reject where reading stopped.
        """
        limit, most = options.limit, options.max_document_bytes
        lines_of = file if options.span is None else LineSpan(file, options.span)
        stream = Stream(lines_of, options.compression, is_text=True)
        builder = BatchBuilder()
        position = options.first
        # ensure_ascii writers spell a character of two or four bytes with six or twelve: three times its size at most.
        max_line = 3 * most + BATCH_BYTES
        for lines, ended in _lines(stream, max_line):
            for line in lines:
                if not line or line.isspace():
                    continue
                if limit is not None and position >= limit:
                    if builder:
                        yield builder.take()
                    return
                outcome = Fault(TOO_LARGE) if len(line) > max_line else parse(line, fields, most)
                if isinstance(outcome, Record):
                    builder.add(position, outcome.id, outcome.text, outcome.meta, len(line))
                elif ended or stream.damage is None:
                    builder.reject(position, outcome.reason, line, outcome.at)
                else:
                    # The rest of a line that the damage cut: the reject below stands for it.
                    builder.reject(position, stream.damage.reason, line)
                    yield builder.take()
                    return
                position += 1
                if builder.size >= options.batch_bytes:
                    yield builder.take()
        if stream.damage is not None and (limit is None or position < limit):
            builder.reject(position, stream.damage.reason, stream.damage.message)
        if builder:
            yield builder.take()

    def can_be_cut(self, compression: str | None) -> bool:
        return compression is None

    def spans_by_size(self, size: int, span_bytes: int) -> list[Span] | None:
        return line_spans(size, span_bytes)

    def count(self, file: Any, span: Span) -> int:
        return count_lines(file, span)

    def field_names(self, file: Any, compression: str | None) -> set[str]:
        names: set[str] = set()
        for block in Stream(file, compression, is_text=True):
            for line in block.split(b"\n")[:-1][:100] or [block]:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    names |= set(record)
            break
        return names


ENTRY = JsonLinesReader()
