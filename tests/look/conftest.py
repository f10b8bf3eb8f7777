"""The hand-written workspace as fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.look.hand import Builder, build


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """The tables of the workspace; :meth:`Builder.finish` makes it a run."""
    return build(tmp_path / "ws")


@pytest.fixture
def workspace(builder: Builder) -> str:
    """A finished workspace."""
    return builder.finish()
