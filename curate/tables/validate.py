"""Whether a table of the workspace is what compiled code relies on.

Kernels check no bounds: an offset that leads elsewhere, or half a character at the end of a text, would read or write
memory that is not theirs. Whoever has written a workspace can write its checksums, too, so what comes from a file is
checked where it is read, and a file that fails is named. Arrow builds offsets of lists and texts itself when it reads
Parquet, but takes those of an Arrow stream, and the bytes of any text, as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from curate.base.errors import WorkspaceError

REMEDY = "take the workspace from where it was made, or run its recipe in a new one"
MADE_AGAIN = "delete it, and the same command makes it again"
"""The remedy where a file is an intermediate."""


def damaged(place: str, why: object, remedy: str = REMEDY) -> WorkspaceError:
    """The error for a file at ``place`` that no run has written so."""
    return WorkspaceError(f"{place} is damaged or was tampered with: {why}; {remedy}")


@contextmanager
def blamed_on(place: str, remedy: str = REMEDY) -> Iterator[None]:
    """What algorithms say of rows that do not fit each other is said of the file at ``place``, where these come from."""
    try:
        yield
    except (ValueError, IndexError, OverflowError) as error:
        raise damaged(place, error, remedy) from error


def sound(table: pa.Table, place: str, remedy: str = REMEDY) -> pa.Table:
    """``table``, read from ``place``, whose texts are UTF-8 and whose offsets lie within it.

    Raises:
        WorkspaceError: one of its columns is otherwise.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise damaged(place, error, remedy) from None
    return table
