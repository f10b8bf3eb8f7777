"""The key of a task is the hash of its fields: everything that decides what is written is in it, and nothing else."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ForwardRef, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from pydantic import BaseModel

import curate.driver
import curate.stages
from curate.dedup.minhash import MinHashParams
from curate.engine.context import TaskContext
from curate.engine.task import NOT_IN_KEY, PLACE, PREVIOUS, RESOURCE, Job, Task, key_form, task_types
from curate.storage.local import LocalStorage
from curate.tables.snapshot import TableFile, TableRef

MAY_BE_LEFT_OUT = {"name", *(metadata[NOT_IN_KEY] for metadata in (PLACE, RESOURCE, PREVIOUS))}

EXAMPLES: dict[type, tuple[Any, Any]] = {
    str: ("one", "another"),
    int: (1, 2),
    float: (0.25, 0.5),
    bool: (False, True),
    MinHashParams: (MinHashParams(), MinHashParams(ngram=3)),
}
"""Two values each of types that others are made of, or that take only some values."""

FILE = TableFile("part", "documents/key/part.parquet", 3, 100, "0123abcd", 1, 3)


class Variant(NamedTuple):
    """Another value of a field, and whether a task with it is another task."""

    value: Any
    is_other: bool


def load_tasks() -> None:
    """Import every module that defines tasks of the package."""
    for package in (curate.stages, curate.driver):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


load_tasks()
KINDS = sorted(
    {kind for kind in task_types() if kind.__module__.startswith("curate.")}, key=lambda kind: kind.__qualname__
)


@cache
def hints_of(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def parts_of(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The origin of a hint, ``Annotated`` aside, and its arguments."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_origin(hint) or hint, get_args(hint)


def example(hint: Any) -> Any:
    """A value of a type."""
    origin, arguments = parts_of(hint)
    if origin in EXAMPLES:
        return EXAMPLES[origin][0]
    if origin is TableFile:
        return FILE
    if origin is TableRef:
        return TableRef("tmp/maps/key/_manifest.json", "0123abcd")
    if origin in (Union, types.UnionType):
        return example(arguments[0])
    if isinstance(origin, ForwardRef):  # a value within a value, as JSON has them
        return "one"
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return tuple(example(argument) for argument in arguments if argument is not ...)
    if origin in (list, Sequence):
        return [example(arguments[0])]
    if origin in (dict, Mapping):
        return {example(arguments[0]): example(arguments[1])}
    if is_dataclass(origin):
        return origin(**{one.name: example(hints_of(origin)[one.name]) for one in fields(origin)})
    if isinstance(origin, type) and issubclass(origin, tuple):
        return origin(*(example(hint) for hint in hints_of(origin).values()))
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return model(origin)
    raise TypeError(f"{hint} cannot be a parameter of a task: say its type, or give an example here")


def model(kind: type[BaseModel], /, **changed: Any) -> BaseModel:
    given = {name: example(one.annotation) for name, one in kind.model_fields.items()}
    return kind.model_construct(**given | changed)


def variants(hint: Any) -> list[Variant]:
    """Other values than the example: one for everything that can differ."""
    origin, arguments = parts_of(hint)
    base = example(hint)
    if origin in EXAMPLES:
        return [Variant(EXAMPLES[origin][1], True)]
    if origin is TableFile:
        return [Variant(replace(base, checksum="4567"), True), Variant(replace(base, name="a", path="b"), False)]
    if origin is TableRef:
        return [Variant(replace(base, content="4567"), True), Variant(replace(base, path="b"), False)]
    if origin in (Union, types.UnionType):
        others = [Variant(None if one is type(None) else example(one), True) for one in arguments[1:]]
        return variants(arguments[0]) + others
    if isinstance(origin, ForwardRef):
        return [Variant("another", True)]
    if origin is Literal:
        return [Variant(value, True) for value in arguments[1:]]
    if origin is tuple and ... not in arguments:
        return [
            Variant((*base[:i], one.value, *base[i + 1 :]), one.is_other)
            for i, argument in enumerate(arguments)
            for one in variants(argument)
        ]
    if origin in (tuple, list, Sequence):
        return [
            Variant(type(base)(), True),
            *(Variant(type(base)([v]), is_other) for v, is_other in variants(arguments[0])),
        ]
    if origin in (dict, Mapping):
        [key] = base
        return [Variant({}, True), *(Variant({key: v}, is_other) for v, is_other in variants(arguments[1]))]
    if is_dataclass(origin):
        return [
            Variant(replace(base, **{one.name: v}), is_other and NOT_IN_KEY not in one.metadata)
            for one in fields(origin)
            for v, is_other in variants(hints_of(origin)[one.name])
        ]
    if issubclass(origin, tuple):
        return [
            Variant(base._replace(**{name: v}), is_other)
            for name, hint in hints_of(origin).items()
            for v, is_other in variants(hint)
        ]
    return [
        Variant(model(origin, **{name: v}), True)
        for name, one in origin.model_fields.items()
        for v, _ in variants(one.annotation)
    ]


def task_of(kind: type[Task]) -> Task:
    return kind(**{one.name: example(hints_of(kind)[one.name]) for one in fields(kind)})


def test_the_tasks_of_the_package_are_found() -> None:
    assert len(KINDS) > 60


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_every_field_decides_unless_it_says_why_not(kind: type[Task]) -> None:
    task = task_of(kind)
    key = task.key("stage")
    assert key == task_of(kind).key("stage")
    assert key != task.key("another stage")
    for one in fields(kind):
        why_not = one.metadata.get(NOT_IN_KEY)
        assert why_not is None or why_not in MAY_BE_LEFT_OUT, f"{one.name} is left out as {why_not}"
        others = variants(hints_of(kind)[one.name])
        assert others, f"{one.name} can have one value only"
        for value, is_other in others:
            is_other = is_other and why_not is None
            assert (replace(task, **{one.name: value}).key("stage") != key) == is_other, f"{one.name} = {value!r}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_a_task_says_what_it_is_and_travels(kind: type[Task]) -> None:
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "a dataclass writes its own docstring where there is none"
    assert kind.grows_with
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    task = task_of(kind)
    again = pickle.loads(pickle.dumps(task))
    assert again == task
    assert again.key("stage") == task.key("stage")


@pytest.mark.parametrize("function", sorted({name for kind in KINDS for name in kind.kernels}))
def test_kernels_to_warm_exist(function: str) -> None:
    module, _, name = function.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_exchanges_are_read_by_what_there_is_one_target_of() -> None:
    sent = [exchange for kind in KINDS for exchange in kind.sends]
    received = {exchange for kind in KINDS for exchange, _ in kind.receives}
    assert received <= set(sent)
    assert len({exchange.name for exchange in sent}) == len(set(sent))
    for kind in KINDS:
        for exchange, senders in kind.receives:
            assert exchange.to == kind.per, f"{kind.__qualname__} reads one target of {exchange.name}"
            assert senders in {other.per for other in KINDS if exchange in other.sends}, f"who sends {exchange.name}"


@dataclass(frozen=True, kw_only=True)
class OneTask(Task):
    """A task with a parameter."""

    grows_with = "fixed"

    number: int

    def work(self, context: TaskContext) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class AnotherTask(OneTask):
    """Another task with the same parameters."""


def test_equal_fields_of_another_task_are_another_key() -> None:
    assert OneTask(name="a", number=1).key("stage") != AnotherTask(name="a", number=1).key("stage")


def test_a_job_travels_and_puts_its_record_below_its_key(tmp_path: Path) -> None:
    task = OneTask(name="a", number=1)
    job = Job.of(task, "key", "numbers", "stage", LocalStorage(tmp_path))
    again = pickle.loads(pickle.dumps(job))
    assert (again.task, again.place.key, again.place.storage.url) == (task, "key", job.place.storage.url)
    assert job.place.record_path == again.place.record_path == "numbers/stage/key/a.record.json"


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, np.ones(2), Path("x"), OneTask], ids=["object", "set", "array", "path", "class"]
)
def test_what_has_no_stable_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be part of a task's key"):
        key_form({"nested": [value]})


def test_files_are_known_by_their_content_wherever_they_are() -> None:
    moved = replace(FILE, path="elsewhere")
    assert key_form([moved, FILE]) == [FILE.checksum] * 2
    assert key_form(TableRef("path", "content")) == "content"
