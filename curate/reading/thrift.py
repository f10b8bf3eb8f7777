"""Thrift's compact protocol, as far as Parquet's headers and footers need it: some fields of a struct, the rest passed over."""

from __future__ import annotations

from typing import Any

INT, LENGTH = "int", "length"
"""What to keep of a field: an integer; how long a list is."""

Wanted = dict[int, Any]
"""Fields to keep by number: INT, LENGTH, a :data:`Wanted` of a struct, or a list with that of a list's structs."""

_STRUCT, _LISTS, _MAP, _BINARY, _INTEGERS = 12, (9, 10), 11, 8, (4, 5, 6)
_FIXED_BYTES = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of a value by its type, where there is no length in it."""
_MAX_DEPTH = 16


class Malformed(OSError):
    """Bytes that are no such struct."""


def read_struct(data: bytes, at: int, wanted: Wanted, depth: int = 0) -> tuple[dict[int, Any], int]:
    """({number: value} of the fields of ``wanted`` that are there, place behind the struct that begins at ``at``).

    Raises:
        IndexError: ``data`` ends before the struct does.
        Malformed: this is no struct.
    """
    if depth > _MAX_DEPTH:
        raise Malformed("structs that are nested too deeply")
    found: dict[int, Any] = {}
    number = 0
    while True:
        byte = data[at]
        at += 1
        if byte == 0:
            return found, at
        if byte >> 4:
            number += byte >> 4
        else:
            told, at = _varint(data, at)
            number = _signed(told)
        value, at = _value(data, at, byte & 15, wanted.get(number), depth)
        if value is not None:
            found[number] = value


def _value(data: bytes, at: int, kind: int, wanted: Any, depth: int) -> tuple[Any, int]:
    """(what is wanted of a value, or None; place behind it)."""
    if kind in _INTEGERS:
        number, at = _varint(data, at)
        return (_signed(number & 0xFFFFFFFF if kind == 5 else number) if wanted is INT else None), at
    if kind == _STRUCT:
        is_wanted = isinstance(wanted, dict)
        fields, at = read_struct(data, at, wanted if is_wanted else {}, depth + 1)
        return (fields if is_wanted else None), at
    if kind == _BINARY:
        length, at = _varint(data, at)
        return None, _within(data, at + length)
    if kind in _LISTS:
        head, at = data[at], at + 1
        size, inner = head >> 4, head & 15
        if size == 15:
            size, at = _varint(data, at)
        one = wanted[0] if isinstance(wanted, list) else None
        elements = []
        for _ in range(size):
            element, at = _element(data, at, inner, one, depth)
            if one is not None:
                elements.append(element)
        return (elements if one is not None else size if wanted is LENGTH else None), at
    if kind == _MAP:
        size, at = _varint(data, at)
        kinds, at = (data[at], at + 1) if size else (0, at)
        for _ in range(size):
            _, at = _element(data, at, kinds >> 4, None, depth)
            _, at = _element(data, at, kinds & 15, None, depth)
        return None, at
    if kind in _FIXED_BYTES:
        return None, _within(data, at + _FIXED_BYTES[kind])
    raise Malformed(f"a field of unknown type {kind}")


def _element(data: bytes, at: int, kind: int, wanted: Any, depth: int) -> tuple[Any, int]:
    """The same of an element of a list or a map; a boolean takes a byte there."""
    if depth > _MAX_DEPTH:
        raise Malformed("lists that are nested too deeply")
    return (None, _within(data, at + 1)) if kind in (1, 2) else _value(data, at, kind, wanted, depth + 1)


def _within(data: bytes, at: int) -> int:
    if at > len(data):
        raise IndexError
    return at


def _signed(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
        if shift > 63:
            raise Malformed("a number that does not end")
