"""Arrays of a ``.safetensors`` file: eight bytes of length, a JSON header, and the arrays as they lie in memory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import RequestError

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


def header(path: Path) -> dict[str, Any]:
    """Name → {dtype, shape, data_offsets} of the arrays.

    Raises:
        RequestError: the file is not whole.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= path.stat().st_size - 8:
            raise RequestError(f"{path} is not a whole safetensors file; copy the model again")
        try:
            found = json.loads(file.read(size))
        except ValueError:
            raise RequestError(f"{path} is not a whole safetensors file; copy the model again") from None
    return {name: one for name, one in found.items() if name != "__metadata__"}


def read(path: Path, name: str) -> NDArray[Any]:
    """The array ``name``.

    Raises:
        RequestError: it is of a type that NumPy does not have, or the file is not whole.
    """
    entry = header(path)[name]
    kind = _TYPES.get(entry["dtype"])
    if kind is None:
        raise RequestError(f"{path}: {name} is {entry['dtype']}; save the model as F32 or F16")
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little") + entry["data_offsets"][0]
        file.seek(start)
        count = math.prod(entry["shape"])
        data = file.read(count * np.dtype(kind).itemsize)
    if len(data) < count * np.dtype(kind).itemsize:
        raise RequestError(f"{path} is not a whole safetensors file; copy the model again")
    return np.frombuffer(data, kind).reshape(entry["shape"])
