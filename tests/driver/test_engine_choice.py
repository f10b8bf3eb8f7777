"""Where a run works: in this process, on a local Ray, or on the cluster that is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.driver.execute import INLINE_BYTES, choose_engine
from curate.engine.engines import token_remedy
from curate.recipe.file import from_dict


@pytest.mark.parametrize(
    ("named", "engine", "size", "cpus", "address", "said"),
    [
        ("", "auto", INLINE_BYTES, None, None, ""),
        ("local", "ray", 0, None, None, ""),
        ("10.0.0.1:6379", "auto", INLINE_BYTES, None, "10.0.0.1:6379", "working on the cluster that RAY_ADDRESS names"),
        ("auto", "ray", 0, None, "auto", "working on the cluster that RAY_ADDRESS names"),
        ("auto", "auto", 0, None, None, "not used: this run works in one process"),
        ("auto", "ray", 0, 2, None, "not used: --cpus asks for a local Ray"),
        ("http://127.0.0.1:8265", "ray", 0, None, None, "not used: that is where jobs are submitted"),
    ],
)
def test_the_cluster_that_the_environment_names_is_used_or_its_neglect_is_said(
    monkeypatch, named, engine, size, cpus, address, said
):
    monkeypatch.setenv("RAY_ADDRESS", named)
    heard: list[str] = []
    recipe = from_dict({"inputs": [{"source": "a", "path": "s3://b/x"}], "engine": engine}, Path("/"))
    chosen = choose_engine(recipe, size, cpus, None, heard.append)
    assert getattr(chosen, "_address", None) == address
    assert [said in text for text in heard] == ([True] if said else [])
    heard.clear()
    if engine == "ray":
        assert choose_engine(recipe, size, cpus, "other:1", heard.append)._address == "other:1"
        assert heard == []


def test_what_is_wrong_with_the_token_is_said_by_what_is_set(monkeypatch, tmp_path):
    error = RuntimeError("Token authentication is enabled but no authentication token was found")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "there is none here: set RAY_AUTH_TOKEN" in token_remedy(error)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    assert token_remedy(error).startswith("refuses the token")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE is disabled here" in token_remedy(error)
    assert token_remedy(RuntimeError("connection refused")) == ""
