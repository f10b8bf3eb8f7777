"""JSON files of a workspace: an object with the schema version of the release that wrote it, and a checksum.

The checksum is the first entry and covers all bytes after it, so that a flipped bit in a file without a checksum elsewhere
(``run.json``, manifests, records of tasks and models) is found when the file is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from curate.base.errors import WorkspaceError
from curate.base.schemas import SCHEMA_VERSION

_HEAD = re.compile(rb'^\{"checksum": "([0-9a-f]{32})",')


def encode(content: dict[str, Any], **style: Any) -> bytes:
    """``content`` as JSON, with checksum and schema version; ``style`` are arguments of :func:`json.dumps`."""
    body = json.dumps({"schema_version": SCHEMA_VERSION} | content, **style).encode()[1:]
    return b'{"checksum": "%s",%s' % (_checksum(body), body)


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def decode(raw: bytes | str, place: str) -> dict[str, Any]:
    """The content of a JSON file without checksum and schema version; ``place`` is the path that errors show.

    Raises:
        ValueError: it is not a JSON object with a schema version, or its checksum is not that of its content.
        WorkspaceError: it has another schema version; the message names both.
    """
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("no JSON object")
    version = data.pop("schema_version", None)
    if version is None:
        raise ValueError("no schema_version")
    if version != SCHEMA_VERSION:
        raise WorkspaceError(
            f"{place} was written with schema version {version}, this release reads {SCHEMA_VERSION}; "
            "run the recipe in a new workspace, or go on with the release that wrote it"
        )
    content = raw.encode() if isinstance(raw, str) else raw
    head = _HEAD.match(content)
    if head is None or _checksum(content[head.end() :]) != head[1]:
        raise ValueError("its checksum is not that of its content")
    del data["checksum"]
    return data
