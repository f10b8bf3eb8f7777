"""Opening inputs, wherever they are."""

from __future__ import annotations

import pyarrow as pa

from curate.reading import formats
from curate.storage.interface import StorageOptions
from curate.storage.open import open_storage
from curate.storage.usage import counted

READ_AHEAD_BYTES = 8 << 20
"""Bytes of one request to an object that is read from its beginning to its end."""


def open_url(url: str, options: StorageOptions, seekable: bool = False) -> pa.NativeFile:
    """An input, open at its beginning; ``seekable`` for reading a part of it.

    Raises:
        FileNotFoundError: it does not exist.
    """
    if url.startswith("s3://"):
        bucket, _, key = url.removeprefix("s3://").partition("/")
        opened = open_storage(f"s3://{bucket}", options).open(key)
    else:
        opened = counted(pa.OSFile(url, "rb"))
    if seekable or formats.reader_of(url).is_seekable:
        return opened
    return pa.BufferedInputStream(opened, READ_AHEAD_BYTES)  # one request for many small reads
