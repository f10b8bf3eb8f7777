"""Registries: names without imports, errors that help, entries of other modules."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from curate.base import registry as module
from curate.base.errors import RequestError
from curate.base.registry import Registry, foreign_modules


@dataclass(frozen=True)
class Entry:
    name: str


@pytest.fixture
def fruits(tmp_path, monkeypatch):
    folder = tmp_path / "fruit_entries"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name in ("pear", "apple", "_helper"):
        (folder / f"{name}.py").write_text(
            f"from types import SimpleNamespace\nENTRY = SimpleNamespace(name={name!r})\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "_registries", [])
    yield Registry[Entry]("fruit", "fruit_entries", ("pear",))
    for name in [name for name in sys.modules if name.startswith("fruit_entries")]:
        del sys.modules[name]


def test_names_are_found_without_importing_an_entry(fruits):
    assert fruits.names() == ("pear", "apple")
    assert not [name for name in sys.modules if name.startswith("fruit_entries.")]
    assert fruits.get("apple").name == "apple"
    assert "fruit_entries.apple" in sys.modules
    assert "fruit_entries.pear" not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_and_all(fruits):
    with pytest.raises(RequestError, match=r"unknown fruit 'aple'; there are: pear, apple; did you mean 'apple'\?"):
        fruits.get("aple")


def test_entries_of_other_modules_come_last_and_their_modules_are_known(fruits):
    fruits.register(Entry("fig"))
    fruits.register(Entry("fig"))  # the same module, as when it is imported again
    assert fruits.names() == ("pear", "apple", "fig")
    assert fruits.get("fig") == Entry("fig")
    assert fruits.in_order(["fig", "pear"]) == ("pear", "fig")
    assert foreign_modules() == (__name__,)
    fruits.unregister("fig")
    assert "fig" not in fruits
    assert foreign_modules() == ()


def test_a_name_that_is_taken_is_refused(fruits):
    with pytest.raises(RequestError, match=r"'pear' of .* exists already, in fruit_entries"):
        fruits.register(Entry("pear"))
    exec("registry.register(entry)", {"__name__": "somebody", "registry": fruits, "entry": Entry("fig")})
    assert foreign_modules() == ("somebody",)
    with pytest.raises(RequestError, match=r"'fig' of .* exists already, in somebody"):
        fruits.register(Entry("fig"))


FAMILIES = (
    "curate.packing.packers:PACKERS",
    "curate.quality.rule_sets:RULE_SETS",
    "curate.quality.scorers:SCORERS",
    "curate.reading.formats:READERS",
    "curate.relate.embedders:EMBEDDERS",
    "curate.relate.orders:ORDERS",
    "curate.shards.formats:FORMATS",
)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_built_in_entry_has_the_name_of_its_module(family):
    package, _, attribute = family.partition(":")
    registry = getattr(__import__(package, fromlist=[attribute]), attribute)
    assert registry.names()
    assert [entry.name for _, entry in registry.items()] == list(registry.names())


@pytest.mark.parametrize("family", [name for name in FAMILIES if "reading" not in name])  # recipes name no reader
def test_listing_names_is_light(family):
    package, _, attribute = family.partition(":")
    code = f"from {package} import {attribute}\n{attribute}.names()\nimport sys\nprint(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"numpy", "pyarrow", "numba", "scipy", "ray"}
