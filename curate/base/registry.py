"""Registries: the entries of one family (shard formats, readers, rule sets, …) by name.

A built-in entry is a module of the family's package: the module has the name of the entry and holds it as ``ENTRY``.
Names are found by listing the package, so they cost no import; an entry's module is imported on its first use. Other
modules add theirs with :meth:`Registry.register`, and a worker process imports those modules before its first task
(:func:`foreign_modules`).
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from curate.base.errors import RequestError


class Named(Protocol):
    """What every entry has."""

    @property
    def name(self) -> str:
        """The name by which recipes and files call it."""


T = TypeVar("T", bound=Named)

_registries: list[Registry[Any]] = []


class Registry(Generic[T]):
    """The entries of one family.

    Args:
        family: what an entry is, for messages: "shard format".
        package: the package whose modules are the built-in entries; those whose names begin with ``_`` are none.
        first: names that come before all others, in this order; the others follow in alphabetical order, registered ones
            last.
    """

    def __init__(self, family: str, package: str, first: Sequence[str] = ()) -> None:
        self.family = family
        self._package = package
        self._first = tuple(first)
        self._registered: dict[str, tuple[T, str]] = {}
        _registries.append(self)

    @cached_property
    def _built_in(self) -> tuple[str, ...]:
        path = importlib.import_module(self._package).__path__
        found = {module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_")}
        return (*self._first, *sorted(found.difference(self._first)))

    def names(self) -> tuple[str, ...]:
        """All names, in the order in which they are listed; no entry is imported."""
        return (*self._built_in, *self._registered)

    def get(self, name: str) -> T:
        """The entry called ``name``.

        Raises:
            RequestError: there is none; the message has the family, the nearest name and all names.
        """
        if name in self._registered:
            return self._registered[name][0]
        if name not in self._built_in:
            raise RequestError(self.unknown(name))
        entry: T = importlib.import_module(f"{self._package}.{name}").ENTRY
        return entry

    def unknown(self, name: str) -> str:
        """The message about a name that is not known."""
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown {self.family} {name!r}; there are: {', '.join(self.names())}{hint}"

    def register(self, entry: T) -> T:
        """Add an entry from another module, which is remembered; the same module may register it again.

        Raises:
            RequestError: another module has an entry of this name.
        """
        module = str(sys._getframe(1).f_globals["__name__"])
        owner = self._package if entry.name in self._built_in else self._registered.get(entry.name, (None, module))[1]
        if owner != module:
            raise RequestError(
                f"{self.family} {entry.name!r} of {module} exists already, in {owner}; rename one of them"
            )
        self._registered[entry.name] = (entry, module)
        return entry

    def unregister(self, name: str) -> None:
        """Forget an entry that :meth:`register` added; nothing when there is none."""
        self._registered.pop(name, None)

    def in_order(self, names: Sequence[str]) -> tuple[str, ...]:
        """``names`` in the order of :meth:`names`, each once."""
        return tuple(name for name in self.names() if name in names)

    def items(self) -> list[tuple[str, T]]:
        """(name, entry) of all entries; imports them."""
        return [(name, self.get(name)) for name in self.names()]

    def values(self) -> list[T]:
        """All entries; imports them."""
        return [self.get(name) for name in self.names()]

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that registered entries, each once."""
        return tuple(dict.fromkeys(module for _, module in self._registered.values()))

    def __getitem__(self, name: str) -> T:
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._registered

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def foreign_modules() -> tuple[str, ...]:
    """Modules outside the families' packages that registered entries, over all registries, each once.

    A worker process imports them before it runs a task, so that it knows the same entries.
    """
    return tuple(dict.fromkeys(module for registry in _registries for module in registry.modules))


def import_modules(modules: Sequence[str]) -> None:
    """Import modules that register entries; those that are loaded already cost nothing."""
    for module in modules:
        importlib.import_module(module)
