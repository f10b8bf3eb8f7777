"""Readers of shards refuse what another release has written, and name both versions."""

from __future__ import annotations

import json

import pytest

from curate.base.errors import RequestError
from curate.shards.index import FORMAT_VERSION, STATE_VERSION, check_state, parse_index


def test_an_index_of_another_version_is_refused_and_both_are_named() -> None:
    assert parse_index(json.dumps({"format_version": FORMAT_VERSION, "files": []}).encode(), "s")["files"] == []
    for version in (FORMAT_VERSION - 1, FORMAT_VERSION + 1):
        with pytest.raises(
            RequestError, match=f"s/index.json has format version {version}, .* reads {FORMAT_VERSION}; write"
        ):
            parse_index(json.dumps({"format_version": version}).encode(), "s")
    for content in (b"", b"[]", b"\xff"):
        with pytest.raises(RequestError, match="damaged"):
            parse_index(content, "s")


def test_a_state_of_another_version_is_refused_and_both_are_named() -> None:
    check_state({"version": STATE_VERSION})
    for state in ({}, {"version": STATE_VERSION + 1}):
        with pytest.raises(
            RequestError, match=f"version {state.get('version')}, this release reads {STATE_VERSION}; go on"
        ):
            check_state(state)
