"""Tasks: the unit of work of every stage, and what is known of them before they run.

A task is a frozen dataclass whose fields are its parameters. Its key is the hash of these fields, a file or a table by
the checksum of its content, so what a task reads and what it is known by cannot differ. Fields that say where something
is, which former rows may be copied, or what a task may use are marked as not in the key: they change nothing in what is
written.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

from curate.base.errors import CurateError
from curate.base.hashing import digest
from curate.base.registry import foreign_modules, import_modules
from curate.engine.context import JobPlace, Record, TaskContext
from curate.recipe import Recipe
from curate.storage.interface import Storage
from curate.tables.snapshot import TableFile, TableRef

Per = Literal["one", "partition", "target", "region", "shard"]
"""What there is one task of: one alone, or one for each documents partition, exchange target, region or shard."""

Amount = Literal[
    "fixed",
    "documents",
    "text_bytes",
    "kept",
    "kept_bytes",
    "tokens",
    "shards",
    "tokenizer_sample",
    "embed_sample",
    "cells_sample",
]
"""What the work of a task grows with: nothing, the corpus, what is left of it, or a sample that a model is fitted on."""

NOT_IN_KEY = "not in the key"


PLACE = {NOT_IN_KEY: "place"}
"""Metadata of a field that says where something is: a path or URL, which may change while the content stays."""

RESOURCE = {NOT_IN_KEY: "resource"}
"""Metadata of a field that says what a task may use: memory, a GPU."""

PREVIOUS = {NOT_IN_KEY: "previous rows"}
"""Metadata of a field with files of an earlier run, of which rows may be copied instead of made again."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Rows that tasks route to where they are needed, through files with an index by target.

    Attributes:
        name: of the intermediate table that holds the files.
        about: what travels, for people.
        to: what there is one target of.
        applies: whether a run of a recipe needs it.
        beyond: needed for more documents than that.
    """

    name: str
    about: str
    to: Per
    applies: Callable[[Recipe], bool] = lambda recipe: True
    beyond: int = 0

    @property
    def table(self) -> str:
        """The intermediate table."""
        return f"tmp/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One piece of work; a subclass adds its parameters as fields, and says what its work grows with.

    Attributes:
        name: tells the tasks of a step apart; the name of the partition, region or shard.
        memory: bytes that the task needs, about; 0: little.
        gpu: runs on a GPU where the engine has some.
    """

    per: ClassVar[Per] = "partition"
    grows_with: ClassVar[Amount]
    writes_with: ClassVar[Amount | Literal[""]] = ""
    """What the bytes that it writes grow with, where that is something else."""
    sends: ClassVar[tuple[Exchange, ...]] = ()
    """Exchanges that it writes a file of."""
    receives: ClassVar[tuple[tuple[Exchange, Per], ...]] = ()
    """Exchanges that it reads one target of, each with what there is one sending task of."""
    opens: ClassVar[Per | Literal[""]] = ""
    """What it opens a file of each of, so that its requests grow with their number."""
    threads: ClassVar[bool] = False
    """Uses more than one thread when there are fewer tasks than processors."""
    bounded: ClassVar[int] = 0
    """Bytes that it never holds more of, however large the corpus; 0: it may; 1: what it was measured to hold."""
    kernels: ClassVar[tuple[str, ...]] = ()
    """Functions (``module:name``) that compile the kernels it calls, on data of a few rows."""

    name: str = field(metadata={NOT_IN_KEY: "name"})
    memory: int = field(default=0, metadata=RESOURCE)
    gpu: bool = field(default=False, metadata=RESOURCE)

    @classmethod
    def stage(cls) -> str:
        """Name of the stage that it works for: of the module below ``curate.stages`` in which it is; '' elsewhere."""
        _, package, *rest = cls.__module__.split(".")
        return rest[0].removesuffix("_fit") if package == "stages" else ""

    @abstractmethod
    def work(self, context: TaskContext) -> None:
        """Read what the fields name, decide, and write."""

    def key(self, *parts: Any) -> str:
        """The hash of ``parts`` (the stage key), the class and the fields."""
        return digest([*parts, type(self).__qualname__, key_form(self)])


def key_form(value: Any) -> Any:
    """The JSON-like form of a value in which equal work gives equal keys.

    Raises:
        TypeError: it has no such form; parameters are plain values, files, tables, dataclasses and settings models.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, TableFile):
        return value.checksum
    if isinstance(value, TableRef):
        return value.content
    if isinstance(value, Mapping):
        return {str(name): key_form(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [key_form(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: key_form(getattr(value, one.name)) for one in fields(value) if NOT_IN_KEY not in one.metadata}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be part of a task's key")


def task_types(base: type[Task] = Task) -> Iterator[type[Task]]:
    """Every kind of task whose module is loaded, once; classes that only share fields are left out."""
    for one in base.__subclasses__():
        if not getattr(one, "__abstractmethods__", None):
            yield one
        yield from task_types(one)


@dataclass(frozen=True, kw_only=True)
class PartitionTask(Task):
    """A task for each partition of the documents table, of which it may read the rows.

    Attributes:
        files: of the same partition, by table.
    """

    documents: TableFile
    files: Mapping[str, TableFile] = field(default_factory=dict)


TRANSIENT = (OSError, TimeoutError, ConnectionError, MemoryError)
"""Errors worth another try; a ValueError never is."""


@dataclass(frozen=True, slots=True)
class Job:
    """A task on its way to a worker.

    Attributes:
        task: what is to be done.
        place: where it belongs.
        modules: that register entries of registries, to be imported before it runs.
    """

    task: Task
    place: JobPlace
    modules: tuple[str, ...] = ()

    @staticmethod
    def of(task: Task, key: str, home: str, stage_key: str, storage: Storage) -> Job:
        """The job of a task in this process's surroundings."""
        return Job(task, JobPlace(task.name, key, home, stage_key, storage), foreign_modules())

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name


def run_job(job: Job, at_home: Callable[[Task], Task] = lambda task: task) -> Record:
    """Run one task to its record; a failure becomes a record with ``error`` set, never an exception.

    ``at_home`` gives the task with the places of this node.
    """
    began = time.perf_counter()
    context = None
    try:
        import_modules(job.modules)
        context = TaskContext(job.place)
        at_home(job.task).work(context)
        return context.finish(time.perf_counter() - began)
    except Exception as error:
        text = str(error) or type(error).__name__
        if not isinstance(error, CurateError):
            text = f"{type(error).__name__}: {text}\n{traceback.format_exc(limit=-4)}"
        is_transient, is_memory = isinstance(error, TRANSIENT), isinstance(error, MemoryError)
        return Record(job.name, job.place.key, error=text, transient=is_transient, out_of_memory=is_memory)
    finally:
        if context is not None:
            context.clear()
