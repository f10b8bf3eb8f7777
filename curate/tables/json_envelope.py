"""What a run stores about itself as JSON, each with the schema version that it was written with."""

from __future__ import annotations

import json
from typing import Any

from curate.base.errors import WorkspaceError
from curate.base.schemas import SCHEMA_VERSION

UNSAID = 1
"""The version of what names none: records of tasks and of models, as releases of schema version 1 have written them."""


def encode(content: dict[str, Any], **style: Any) -> bytes:
    """``content`` as JSON, with the schema version of this release; ``style`` as of :func:`json.dumps`."""
    return json.dumps({"schema_version": SCHEMA_VERSION} | content, **style).encode()


def decode(raw: bytes | str, place: str, *, unsaid: int | None = None) -> dict[str, Any]:
    """The content of a file at ``place`` (as people know it), without its schema version.

    Args:
        unsaid: the version of a file that names none.

    Raises:
        ValueError: it is no JSON object, or names no version although it must.
        WorkspaceError: its schema version is another; the message names both.
    """
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("no JSON object")
    version = data.pop("schema_version", unsaid)
    if version is None:
        raise ValueError("no schema_version")
    if version != SCHEMA_VERSION:
        raise WorkspaceError(
            f"{place} was written with schema version {version}, this release reads {SCHEMA_VERSION}; "
            "run the recipe in a new workspace, or go on with the release that wrote it"
        )
    return data
