"""What the names in a folder say: files that describe a data set, marks of other systems, values of Hive partitions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

_DESCRIPTIONS = re.compile(
    r"(readme|licen[cs]e|copying|notice|citation|changelog|contributing|code_of_conduct|security|authors|datasheet|"
    r"data_?card|dataset_?card|dataset_infos?|dataset_dict|dataset_description|state|metadata|croissant|stats)"
    r"([._-][a-z0-9._-]*)?\.(md|txt|html?|json)",
    re.IGNORECASE,
)
"""Names of files that say something of a data set and are none of its records."""

_PARTITION = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NULL = "__HIVE_DEFAULT_PARTITION__"


def is_hidden(path: str) -> bool:
    """Whether a file, or a folder above it, has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def above(path: str) -> list[str]:
    """The folders above a file, the nearest first, down to ``.``."""
    return [folder.as_posix() for folder in PurePosixPath(path).parents]


def describes_data(path: str) -> bool:
    """Whether a file bears a name such as README.md or dataset_infos.json: beside data it is no document."""
    return _DESCRIPTIONS.fullmatch(path.rsplit("/", 1)[-1]) is not None


def belongs_to_folder(path: str) -> bool:
    """Whether a file is a mark or a log of the system that wrote the folder (``_metadata``, ``_delta_log/``), as in Hive:
    a name begins with an underscore and is no partition."""
    return any(part.startswith("_") and "=" not in part for part in path.split("/"))


def partition_values(path: str) -> dict[str, Any]:
    """The values that the folders of a file name as Hive does (``lang=en/year=2024/part-0.parquet``).

    A value of up to 18 digits is an integer, each other one a string; the mark of a missing value gives none.
    """
    found: dict[str, Any] = {}
    for folder in path.split("/")[:-1]:
        named = _PARTITION.fullmatch(folder)
        if named is None or named[2] == _NULL:
            continue
        value = unquote(named[2])
        found[named[1]] = int(value) if _INTEGER.fullmatch(value) else value
    return found


def with_values(metas: Sequence[str | None], values: Mapping[str, Any]) -> list[str | None]:
    """Metas (JSON objects, or None) with further fields behind their own; a field that a record has stays as it is."""
    if not values:
        return list(metas)
    quoted = {name: json.dumps(name, ensure_ascii=False) for name in values}
    whole = json.dumps(dict(values), ensure_ascii=False, separators=(",", ":"))
    added: list[str | None] = []
    for meta in metas:
        if meta is None:
            added.append(whole)
            continue
        more = whole
        if any(f"{name}:" in meta for name in quoted.values()):
            own = json.loads(meta)
            left = {name: value for name, value in values.items() if name not in own}
            more = json.dumps(left, ensure_ascii=False, separators=(",", ":"))
        # Two objects become one; neither is parsed again.
        added.append(meta if more == "{}" else f"{meta[:-1]},{more[1:]}" if meta != "{}" else more)
    return added
