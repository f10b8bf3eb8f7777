"""Stages: what one reads and writes, what of the recipe it depends on, and how it runs its tasks.

A stage key covers the stage's settings, its version and the keys of the stages it reads: no data. A snapshot id adds
the content of the tables it read, so an unchanged stage is skipped without looking at a single file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from curate.base.catalog import manifest_path
from curate.base.errors import StageFailed
from curate.base.hashing import digest
from curate.engine.engines import Engine
from curate.engine.fit import Fit, fitted
from curate.engine.progress import Progress
from curate.engine.tasks import Record, Task, function_name, task_key
from curate.recipe import Recipe
from curate.storage.interface import Storage
from curate.storage.local import LocalStorage
from curate.storage.usage import Usage
from curate.tables.snapshot import Snapshot, TableFile, read_snapshot, write_snapshot
from curate.tables.workspace import RunState

if TYPE_CHECKING:
    from curate.engine.inputs import Inputs
    from curate.engine.takedown import Takedown

TMP_VERSION = 2
"""Of the files below ``tmp/``, raised when their form changes: a run that another release has begun makes them anew."""

RETRIES = 2
"""Further tries of a task that failed for a transient reason."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One entry of the plan.

    ``name`` is the recipe section; ``version`` is raised by hand when the output for the same input changes;
    ``settings`` picks from the recipe what the output depends on; ``run`` does the work.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    settings: Callable[[Recipe], Any]
    run: Callable[[StageRun], None]
    found: Callable[[StageRun], Any] = lambda run: None
    """What the stage depends on besides its tables (files of inputs): part of the snapshot id."""
    fits: Callable[[StageRun], Fit | None] = lambda run: None
    """The model that is fitted for the stage; its checksum is part of the snapshot id."""
    by_generation: bool = False
    """Decides corpus-wide: runs once for each generation, over its part of the tables."""
    looks_back: tuple[str, ...] = ()
    """Tables of earlier generations that it also reads."""
    without: Callable[[StageRun, Takedown], None] | None = None
    """Makes the tables without documents that are taken down; what was decided about others stays. None where they lose
    rows and nothing else (``curate.engine.takedown.without_rows``)."""

    @property
    def title(self) -> str:
        return f"{self.name} → {', '.join(self.writes)}"


@dataclass(frozen=True, slots=True)
class Spec:
    """A task to be: its name, the checksums of what it reads, and the parameters of its function."""

    name: str
    inputs: Sequence[Any]
    params: dict[str, Any]
    memory: int = 0
    gpu: bool = False
    """Runs on a GPU where the engine has some."""


@dataclass(slots=True)
class Step:
    """The finished tasks of one step, by name."""

    records: list[Record]

    def files(self, table: str) -> tuple[TableFile, ...]:
        """Files of one table, sorted by name."""
        return tuple(
            sorted(
                (file for record in self.records for file in record.files.get(table, [])), key=lambda file: file.name
            )
        )

    @property
    def counters(self) -> dict[str, int]:
        """Counters of all tasks, summed."""
        total: Counter[str] = Counter()
        for record in self.records:
            total.update(record.counters)
        return dict(sorted(total.items()))

    def values(self, name: str) -> list[Any]:
        """The small result ``name`` of every task, in the order of task names."""
        return [record.values[name] for record in self.records]


@dataclass(slots=True)
class StageRun:
    """A stage at work: the recipe, the tables it may read, and the means to run tasks and commit tables."""

    recipe: Recipe
    storage: Storage
    engine: Engine
    tables: dict[str, Snapshot]
    stage: Stage
    stage_key: str
    progress: Progress
    inputs: Inputs
    former: Callable[[], Sequence[RunState]] = lambda: ()
    """The workspace's last states, newest first."""
    check: Callable[[], None] = lambda: None
    earlier: Sequence[dict[str, Snapshot]] = ()
    """Tables of the earlier generations, the first one first."""
    first_new: int = 0
    """Documents of earlier generations have smaller doc_ids."""
    refit: bool = False
    """Fit models again, on the documents as they are now."""
    fitted: TableFile | None = None
    """The stage's model, once the run is identified."""
    snapshot_id: str = ""
    tasks_run: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    """What the tasks of each function have used, those of an interrupted run too."""
    inline_usage: Usage = field(default_factory=Usage)
    """What of it was used in this very process."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def model(self) -> TableFile:
        """The stage's fitted model."""
        if self.fitted is None:
            raise ValueError(f"stage {self.stage.name} has no model")
        return self.fitted

    def identify(self, *, may_fit: bool = True) -> str:
        """Set and return the snapshot id: the stage key, what is read, and the model, which is fitted if it is not there.

        '' when the model is not there and must not be fitted: then the stage's tables are not there either.
        """
        fit = self.stage.fits(self)
        self.fitted = None if fit is None else fitted(self, fit, may_fit=may_fit)
        if fit is not None and self.fitted is None:
            self.snapshot_id = ""
            return ""
        model = [] if self.fitted is None else [self.fitted.checksum]
        reads = [self.tables[table].content for table in self.stage.reads]
        back = [[tables[table].content for table in self.stage.looks_back] for tables in self.earlier]
        self.snapshot_id = digest([self.stage_key, reads, back, self.stage.found(self), *model])
        return self.snapshot_id

    def reach(self, table: str) -> Snapshot:
        """A table that has a file for each partition: the part of this generation and of all earlier ones."""
        mine = self.tables[table]
        if not self.earlier:
            return mine
        files = tuple(file for tables in (*self.earlier, self.tables) for file in tables[table].files)
        whole = Snapshot(f"tmp/{table}.reach", self.stage.name, self.stage_key, self.snapshot_id, files)
        write_snapshot(self.storage, whole)
        return whole

    def committed(self) -> dict[str, Snapshot] | None:
        """The stage's snapshots when all of them are there already."""
        if not self.snapshot_id:
            return None
        found = {}
        for table in self.stage.writes:
            try:
                found[table] = read_snapshot(self.storage, manifest_path(table, self.stage_key, self.snapshot_id))
            except FileNotFoundError:
                return None
            if not self.present(found[table].files):
                return None
        return found

    def present(self, files: Sequence[TableFile]) -> bool:
        """Whether all files are there with their sizes; asked of local disks only, where a look costs next to nothing."""
        if not isinstance(self.storage, LocalStorage):
            return True
        return all(self.storage.size(file.path) == file.bytes for file in files)

    def step(self, home: str, function: Callable[..., None], specs: Sequence[Spec], key: str = "") -> Step:
        """Run the tasks that are not done yet; ``home`` is the table (or ``tmp/…``) below which their records lie.

        ``key`` stands for the stage key where what is made outlives it.

        Raises:
            StageFailed: tasks failed after their retries; those that did not are committed all the same.
        """
        key = key or self.stage_key
        form = [TMP_VERSION] if home.startswith("tmp/") else []
        tasks = [
            Task(
                function_name(function),
                spec.name,
                task_key(key, function.__qualname__, *form, *spec.inputs),
                home,
                key,
                self.storage,
                spec.params,
                spec.memory,
                spec.gpu,
            )
            for spec in specs
        ]
        records: dict[str, Record] = {}
        todo = []
        for task, record in zip(tasks, self._records(tasks), strict=True):
            if record is None:
                todo.append(task)
            else:
                records[task.name] = record
        step_name = home.removeprefix("tmp/")
        self.progress.step(self.stage.name, step_name, len(tasks), len(records))
        failed: list[Record] = []
        for attempt in range(1 + RETRIES):
            failed, again = [], []
            by_name = {task.name: task for task in todo}
            for record in self.engine.run(todo):
                self.check()
                self.tasks_run += 1
                if not record.error:
                    records[record.name] = record
                    if self.engine.name == "inline":
                        self.inline_usage += record.usage
                    self.progress.task(self.stage.name, step_name, record)
                elif record.transient and attempt < RETRIES:
                    again.append(_with_more_memory(by_name[record.name]))
                else:
                    failed.append(record)
            todo = sorted(again, key=lambda task: task.name)
            if failed or not todo:
                break
            time.sleep(0.5 * 2**attempt)
        if failed:
            raise StageFailed(_failure(self.stage.name, step_name, failed, len(tasks)))
        used = sum((record.usage for record in records.values()), self.usage.get(function.__name__, Usage()))
        self.usage[function.__name__] = used
        return Step([records[task.name] for task in sorted(tasks, key=lambda task: task.name)])

    def _records(self, tasks: Sequence[Task]) -> list[Record | None]:
        """The record of every task that is done."""

        def read(task: Task) -> Record | None:
            try:
                place = f"{self.storage.url}/{task.record_path}"
                record = Record.from_json(self.storage.read(task.record_path), place)
            except (FileNotFoundError, ValueError):  # a power cut can leave an empty one
                return None
            return record if self.present([file for files in record.files.values() for file in files]) else None

        if len(tasks) < 8:
            return [read(task) for task in tasks]
        with ThreadPoolExecutor(16) as pool:  # one request each in an object store
            return list(pool.map(read, tasks))

    def publish(self, table: str, step: Step, details: dict[str, Any] | None = None) -> Snapshot:
        """A snapshot of an intermediate table (``tmp/…``), for later steps of this stage."""
        snapshot = Snapshot(
            table, self.stage.name, self.stage_key, self.snapshot_id, step.files(table), step.counters, details or {}
        )
        write_snapshot(self.storage, snapshot)
        return snapshot

    def commit(
        self,
        table: str,
        files: Sequence[TableFile],
        counters: dict[str, int] | None = None,
        details: dict[str, Any] | None = None,
        rows_key: str = "",
    ) -> Snapshot:
        """Commit a table of this stage; later stages read it from here."""
        if table not in self.stage.writes:
            raise ValueError(f"stage {self.stage.name} does not write {table}")
        self.check()
        snapshot = Snapshot(
            table,
            self.stage.name,
            self.stage_key,
            self.snapshot_id,
            tuple(sorted(files, key=lambda file: file.name)),
            dict(counters or {}),
            details or {},
            round(time.perf_counter() - self.began, 2),
            rows_key,
            {name: used.to_dict() for name, used in sorted(self.usage.items())},
        )
        write_snapshot(self.storage, snapshot)
        self.tables[table] = snapshot
        return snapshot


def _with_more_memory(task: Task) -> Task:
    return replace(task, memory=2 * task.memory)


def _failure(stage: str, step: str, failed: list[Record], total: int) -> str:
    shown = "\n".join(
        f"  {record.name}: {record.error}" for record in sorted(failed, key=lambda record: record.name)[:3]
    )
    more = f"\n  … and {len(failed) - 3} more" if len(failed) > 3 else ""
    return (
        f"stage {stage} ({step}): {len(failed)} of {total} tasks failed; the others are committed, and the same command goes on from there\n"
        f"{shown}{more}"
    )


def partition_specs(
    documents: Snapshot,
    sidecars: dict[str, Snapshot],
    params: dict[str, Any] | None = None,
    extra: Sequence[Any] = (),
    memory_factor: float = 0.0,
) -> list[Spec]:
    """One task for each documents partition: parameters ``documents=…`` and one for each side-car, by partition name."""
    named = {parameter: snapshot.named() for parameter, snapshot in sidecars.items()}
    specs = []
    for file in documents.files:
        files = {"documents": file} | {parameter: table[file.name] for parameter, table in named.items()}
        specs.append(
            Spec(
                file.name,
                [*(files[parameter].checksum for parameter in files), *extra],
                {**{parameter: asdict(one) for parameter, one in files.items()}, **(params or {})},
                int(memory_factor * file.bytes),
            )
        )
    return specs
