"""Loading fastText models: checked before the library reads them, quiet, once a process.

The module ``fasttext`` is that of ``fasttext-numpy2-wheel``; the library aborts the whole process on some damaged files,
so the header is checked first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.text import text_buffers

_MAGIC = 793712314
"""FASTTEXT_FILEFORMAT_MAGIC_INT32 (fastText ``src/fasttext.cc``), then the version."""
_VERSIONS = (11, 12)
_SUPERVISED = 3
LABEL_PREFIX = "__label__"

_TOKENS = bytes.maketrans(b"\n\r\x00", b"   ")
"""fastText ends a text at a newline."""


def check_model(path: Path) -> None:
    """Nothing, when ``path`` is a supervised fastText model.

    Raises:
        RequestError: it is missing, not a fastText model, or one without labels.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(56)
    except OSError as error:
        raise RequestError(f"cannot read the fastText model {path}: {error.strerror or error}") from error
    if len(head) < 56 or struct.unpack_from("<2i", head)[0] != _MAGIC:
        raise RequestError(
            f"{path} is not a fastText model (its first bytes are not fastText's); give a .bin or .ftz file"
        )
    # magic, version, then the arguments: dim, ws, epoch, minCount, neg, wordNgrams, loss, model, …
    version, model = struct.unpack_from("<i", head, 4)[0], struct.unpack_from("<i", head, 36)[0]
    if version not in _VERSIONS:
        raise RequestError(f"{path} is a fastText model of file version {version}; this code reads {_VERSIONS}")
    if model != _SUPERVISED:
        raise RequestError(f"{path} is a fastText model of word vectors; a supervised one, with labels, is needed")


def load_model(path: str) -> Any:
    """The fastText library's model object, loaded once a process while the file stays as it is."""
    check_model(Path(path))
    status = Path(path).stat()
    return _loaded(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _loaded(path: str, changed: int, size: int) -> Any:
    import fasttext

    # The library prints a deprecation notice for every model that is loaded.
    fasttext.FastText.eprint = lambda *args, **kwargs: None
    try:
        return fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise RequestError(f"fastText cannot load {path}: {error}; the file may be cut short") from error


def lines_of(texts: pa.Array | pa.ChunkedArray, most_bytes: int) -> Iterator[str]:
    """Every text as fastText takes it: its first ``most_bytes`` bytes (whole characters), newlines as spaces, at the end one newline."""
    data, offsets = text_buffers(texts)
    ends = prefix_ends(data, offsets, most_bytes)
    for start, end in zip(offsets[:-1].tolist(), ends.tolist(), strict=True):
        yield data[start:end].tobytes().translate(_TOKENS).decode("utf-8") + "\n"


def prefix_ends(data: NDArray[np.uint8], offsets: NDArray[np.int64], most_bytes: int) -> NDArray[np.int64]:
    """int64[N]: where the first ``most_bytes`` bytes of every text end, moved back to the end of a character."""
    ends = np.minimum(offsets[1:], offsets[:-1] + most_bytes)
    for _ in range(3):
        inside = ends < offsets[1:]
        inside[inside] = (data[ends[inside]] & 0xC0) == 0x80
        ends = ends - inside
    return ends
