"""Versions of what a reader of shards is given: ``index.json``, and the state it had handed out."""

from __future__ import annotations

import json
from typing import Any

from curate.base.errors import RequestError

FORMAT_VERSION = 2
"""Of ``index.json`` and the files that it lists."""

STATE_VERSION = 1
"""Of what ``state_dict`` of the readers gives."""


def parse_index(content: bytes, url: str) -> dict[str, Any]:
    """What an ``index.json`` at ``url`` says.

    Raises:
        RequestError: it is damaged, or of another version; the message names both.
    """
    try:
        index = json.loads(content)
        version = index.get("format_version")
    except (ValueError, AttributeError):
        raise RequestError(f"{url}/index.json is damaged; copy the shards again") from None
    if version != FORMAT_VERSION:
        raise RequestError(
            f"{url}/index.json has format version {version}, this release reads {FORMAT_VERSION}; "
            "write the shards with this release (`curate run`), or read them with the one that wrote them"
        )
    return dict(index)


def check_state(state: dict[str, Any]) -> None:
    """Nothing, when the reader's state is of this version.

    Raises:
        RequestError: it is of another; the message names both.
    """
    if (version := state.get("version")) != STATE_VERSION:
        raise RequestError(
            f"the state has version {version}, this release reads {STATE_VERSION}; go on with the release that saved it, "
            "or begin the epoch anew without a state"
        )
