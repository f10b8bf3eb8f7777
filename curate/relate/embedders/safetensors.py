"""Arrays of a ``.safetensors`` file: eight bytes of length, a JSON header, and the arrays as they lie in memory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import RequestError

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_NEEDED = {"dtype", "shape", "data_offsets"}
_MOST = 1 << 48
"""No size or offset of a file that exists is larger."""


def header(path: Path) -> dict[str, Any]:
    """Name → {dtype, shape, data_offsets} of the arrays.

    Raises:
        RequestError: the file is not whole, or its header says what cannot be.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= path.stat().st_size - 8:
            raise _damaged(path)
        try:
            found = json.loads(file.read(size))
        except (ValueError, RecursionError):
            raise _damaged(path) from None
    if not isinstance(found, dict):
        raise _damaged(path)
    found.pop("__metadata__", None)
    if not all(isinstance(one, dict) and one.keys() >= _NEEDED for one in found.values()):
        raise _damaged(path)
    return found


def read(path: Path, name: str) -> NDArray[Any]:
    """The array ``name``.

    Raises:
        RequestError: it is of a type that NumPy does not have, or the file is not whole.
    """
    entry = header(path)[name]
    kind = _TYPES.get(str(entry["dtype"]))
    if kind is None:
        raise RequestError(f"{path}: {name} is {entry['dtype']}; save the model as F32 or F16")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise _damaged(path)
    with path.open("rb") as file:
        first = 8 + int.from_bytes(file.read(8), "little")
        start, size = first + offsets[0], math.prod(shape) * np.dtype(kind).itemsize
        # Nothing is asked for that the file does not hold, whatever the header says.
        if size != offsets[1] - offsets[0] or start + size > path.stat().st_size:
            raise _damaged(path)
        file.seek(start)
        data = file.read(size)
    return np.frombuffer(data, kind).reshape(shape)


def _are_sizes(found: Any) -> bool:
    return isinstance(found, list) and all(type(one) is int and 0 <= one < _MOST for one in found)


def _damaged(path: Path) -> RequestError:
    return RequestError(f"{path} is not a whole safetensors file; copy the model again")
