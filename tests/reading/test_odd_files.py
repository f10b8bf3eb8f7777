"""A few of the odd files of each kind (`python -m tests.reading.odd_files N` makes N)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.reading.odd_files import KINDS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_odd_files(kind: Callable[[int], None]) -> None:
    for seed in range(40):
        kind(seed)
