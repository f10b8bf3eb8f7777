"""Validation of tables that are read from a workspace, before compiled code sees them.

Kernels check no bounds: an offset outside its buffer, or half a character at the end of a text, would make them read or
write foreign memory. Checksums do not protect: whoever can write a file can write its checksum. So every table is
validated where it is read, and the error names the file. Arrow builds the offsets of lists and texts itself when it
reads Parquet, but takes those of an Arrow stream, and the bytes of any text, unchecked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from curate.base.errors import DamagedFile

REMEDY = "take the workspace from where it was made, or run its recipe in a new one"
MADE_AGAIN = "delete it, and the same command makes it again"
"""The remedy for an intermediate file."""


def damaged(place: str, why: object, remedy: str = REMEDY) -> DamagedFile:
    """The error for a file at ``place`` whose content no run can have written."""
    return DamagedFile(place, f"is damaged or was tampered with: {why}", remedy)


@contextmanager
def reraise_as_damaged(place: str, remedy: str = REMEDY) -> Iterator[None]:
    """Turn errors of algorithms about inconsistent rows into one that names the file at ``place``, where the rows are from.

    Raises:
        DamagedFile: instead of ValueError, IndexError and OverflowError.
    """
    try:
        yield
    except (ValueError, IndexError, OverflowError) as error:
        raise damaged(place, error, remedy) from error


def validate(table: pa.Table, place: str, remedy: str = REMEDY) -> pa.Table:
    """``table``, read from ``place``, after checking that its texts are UTF-8 and its offsets within bounds.

    Raises:
        DamagedFile: a column fails the check.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise damaged(place, error, remedy) from None
    return table
