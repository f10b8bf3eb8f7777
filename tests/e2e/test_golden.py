"""The output of a stage changes only together with its version."""

from __future__ import annotations

import copy
import json

import pytest

from tests import golden


@pytest.fixture(scope="module")
def now():
    return golden.measure()


def test_a_stage_whose_output_changed_has_another_version(now):
    pinned = json.loads(golden.PINNED.read_text())
    blamed = golden.unraised(pinned, now)
    assert not blamed, (
        f"{', '.join(blamed)} changed for the same corpus: raise the `version` of the stage that writes it, "
        "or find what changed it unintentionally; then `python -m tests.golden` pins the new output"
    )
    assert now == pinned, "the pins are of another state: run `python -m tests.golden`"


def test_the_corpus_gives_every_table_something_to_hold(now):
    assert [table for table, pin in now.items() if pin["rows"] == 0] == []


def test_only_the_stage_that_began_a_change_is_blamed(now):
    changed = copy.deepcopy(now)
    for table in ("signatures", "duplicates", "paragraphs", "windows"):
        changed[table]["digest"] = "other"
    assert golden.unraised(now, changed) == ["signatures", "windows"]  # of which neither reads the other
    changed["signatures"]["version"] += 1
    assert golden.unraised(now, changed) == ["windows"]
