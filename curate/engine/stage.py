"""Stages: what one reads and writes, what of the recipe it depends on, and how it runs its tasks.

A stage key covers the stage's settings, its version and the keys of the stages it reads: no data. A snapshot id adds
the content of the tables it read, so an unchanged stage is skipped without looking at a single file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict

from curate.base.amounts import size
from curate.base.catalog import manifest_path
from curate.base.errors import StageFailed, WorkspaceError
from curate.base.hashing import digest
from curate.engine.context import Record
from curate.engine.engines import Engine
from curate.engine.inputs import Inputs
from curate.engine.progress import Progress
from curate.engine.removed import Takedown
from curate.engine.task import Exchange, Job, Task
from curate.recipe import Recipe
from curate.storage.interface import Storage
from curate.storage.local import LocalStorage
from curate.storage.usage import Usage
from curate.tables.losses import Loss
from curate.tables.snapshot import Snapshot, TableFile, decode, encode, read_snapshot, write_snapshot
from curate.tables.workspace import RunState

TMP_VERSION = 1
"""Format version of files under ``tmp/``. Raise it when the format changes; interrupted runs then rebuild them."""

RETRIES = 2
"""Further tries of a task that failed for a transient reason."""

LEAST_MEMORY = 1 << 30
"""Bytes that a task asks for at least once it has run out of memory; many ask for none before."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One entry of the plan.

    Attributes:
        name: the recipe section.
        version: raised by hand when the output for the same input changes.
        reads: tables of earlier stages.
        writes: its own tables.
        settings: picks from the recipe what the output depends on.
        run: does the work.
        depends_on: what the stage depends on besides its tables (files of inputs): part of the snapshot id.
        fits: the model that is fitted for the stage; its checksum is part of the snapshot id.
        by_generation: decides corpus-wide: runs once for each generation, over its part of the tables.
        looks_back: tables of earlier generations that it also reads.
        takedown: makes the tables without documents that are taken down; what was decided about others stays. None where
            they lose rows and nothing else (``curate.engine.takedown.leave_rows``).
    """

    name: str
    version: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    settings: Callable[[Recipe], Any]
    run: Callable[[StageRun], None]
    depends_on: Callable[[StageRun], Any] = lambda run: None
    fits: Callable[[StageRun], Fit | None] = lambda run: None
    by_generation: bool = False
    looks_back: tuple[str, ...] = ()
    takedown: Callable[[StageRun, Takedown], None] | None = None

    @property
    def title(self) -> str:
        """The stage and its tables, for people."""
        return f"{self.name} → {', '.join(self.writes)}"


class PartitionFields(TypedDict):
    """What every task for a partition is told (:class:`curate.engine.task.PartitionTask`)."""

    name: str
    documents: TableFile
    files: Mapping[str, TableFile]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of the documents table: its name, its place among all, its file, and its files of other tables."""

    name: str
    index: int
    documents: TableFile
    files: Mapping[str, TableFile]

    @property
    def fields(self) -> PartitionFields:
        """Fields of the tasks for this partition."""
        return {"name": self.name, "documents": self.documents, "files": self.files}

    def memory(self, factor: float) -> int:
        """Bytes that a task needs which holds ``factor`` times the file as stored."""
        return int(factor * self.documents.bytes)


def partitions(documents: Snapshot, **sidecars: Snapshot) -> list[Partition]:
    """The partitions of a documents table with the files of other tables that have the same names."""
    named = {table: snapshot.named() for table, snapshot in sidecars.items()}
    return [
        Partition(file.name, index, file, {table: files[file.name] for table, files in named.items()})
        for index, file in enumerate(documents.files)
    ]


@dataclass(slots=True)
class Step:
    """The finished tasks of one step, by name."""

    records: list[Record]

    def files(self, table: str) -> tuple[TableFile, ...]:
        """Files of one table, sorted by name."""
        files = (file for record in self.records for file in record.files.get(table, []))
        return tuple(sorted(files, key=lambda file: file.name))

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
    """A stage at work: the recipe, the tables it may read, and the means to run tasks and commit tables.

    Attributes:
        states: the workspace's last states, newest first.
        check: raises when the lease was lost.
        earlier: tables of the earlier generations, the first one first.
        first_new: documents of earlier generations have smaller doc_ids.
        refit: fit models again, on the documents as they are now.
        fitted: the stage's model, once the run is identified.
        usage: what the tasks of each kind have used, those of an interrupted run too.
        inline_usage: what of it was used in this very process.
    """

    recipe: Recipe
    storage: Storage
    engine: Engine
    tables: dict[str, Snapshot]
    stage: Stage
    stage_key: str
    progress: Progress
    inputs: Inputs
    states: Callable[[], Sequence[RunState]] = lambda: ()
    check: Callable[[], None] = lambda: None
    earlier: Sequence[dict[str, Snapshot]] = ()
    first_new: int = 0
    refit: bool = False
    fitted: TableFile | None = None
    snapshot_id: str = ""
    tasks_run: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    inline_usage: Usage = field(default_factory=Usage)
    began: float = field(default_factory=time.perf_counter)

    @property
    def model(self) -> TableFile:
        """The stage's fitted model."""
        if self.fitted is None:
            raise ValueError(f"stage {self.stage.name} has no model")
        return self.fitted

    def identify(self, *, may_fit: bool = True) -> None:
        """Set the snapshot id: digest of the stage key, what is read, and the model, which is fitted if it is missing.

        '' when the model is missing and must not be fitted: then the stage's tables are missing too.
        """
        fit = self.stage.fits(self)
        self.fitted = None if fit is None else self._fit(fit, may_fit=may_fit)
        self.snapshot_id = ""
        if fit is not None and self.fitted is None:
            return
        model = [] if self.fitted is None else [self.fitted.checksum]
        reads = [self.tables[table].content for table in self.stage.reads]
        back = [[tables[table].content for table in self.stage.looks_back] for tables in self.earlier]
        self.snapshot_id = digest([self.stage_key, reads, back, self.stage.depends_on(self), *model])

    def _fit(self, fit: Fit, *, may_fit: bool) -> TableFile | None:
        """The stored model, else the one fitted now; None when there is none and ``may_fit`` is false.

        A run that refits takes the stored one only if it was fitted on the very same tables. Later generations take what
        the first one has. What was fitted on nothing is fitted again once there is something.
        """
        key = digest([self.stage.name, self.stage.version, fit.name, fit.settings])
        origin = digest([self.tables[table].content for table in self.stage.reads])
        entry = ModelEntry(self.storage, key, fit.name)
        stored = entry.read()
        is_wanted = not self.refit or bool(self.earlier) or (stored is not None and stored.origin == origin)
        if stored is not None and is_wanted and self.present([stored.file]) and not stored.size == 0 < fit.size:
            if fit.size >= GROWTH * max(stored.size, 1) and not self.earlier:
                self.progress.say(
                    f"{self.stage.name}: its model ({fit.name}) stays as it was fitted on {stored.size:,} {fit.unit}; "
                    f"now there are {fit.size:,}. `--refit` fits it again, and what depends on it is made anew"
                )
            return stored.file
        if not may_fit:
            return None
        file = self.step("artefacts", [fit.task()], key).files("artefacts")[0]
        self.check()
        return entry.put(StoredModel(file, origin, fit.size)).file

    def partitions(self, *tables: str) -> list[Partition]:
        """The partitions of this generation's documents, with their files of other tables."""
        return partitions(self.tables["documents"], **{table: self.tables[table] for table in tables})

    def reach(self, table: str) -> Snapshot:
        """A table that has a file for each partition: the part of this generation and of all earlier ones."""
        if not self.earlier:
            return self.tables[table]
        files = tuple(file for tables in (*self.earlier, self.tables) for file in tables[table].files)
        return self._intermediate(Snapshot(f"tmp/{table}.reach", self.stage.name, self.stage_key, "", files))

    def committed(self) -> dict[str, Snapshot] | None:
        """The stage's snapshots when all of them are there already."""
        if not self.snapshot_id:
            return None
        paths = {table: manifest_path(table, self.stage_key, self.snapshot_id) for table in self.stage.writes}
        try:
            tables = {table: read_snapshot(self.storage, path) for table, path in paths.items()}
        except FileNotFoundError:
            return None
        return tables if all(self.present(snapshot.files) for snapshot in tables.values()) else None

    def present(self, files: Sequence[TableFile]) -> bool:
        """Whether all files are there with their sizes; asked of local disks only, where a look costs next to nothing."""
        if not isinstance(self.storage, LocalStorage):
            return True
        return all(self.storage.size(file.path) == file.bytes for file in files)

    def step(self, home: str, tasks: Sequence[Task], key: str = "") -> Step:
        """Run the tasks that are not done yet.

        Args:
            home: the table (or ``tmp/…``) below which their records lie.
            tasks: of one kind.
            key: stands for the stage key where what is made outlives it.

        Raises:
            StageFailed: tasks failed after their retries; those that did not are committed all the same.
        """
        key = key or self.stage_key
        form = [TMP_VERSION] if home.startswith("tmp/") else []
        jobs = [Job.of(task, task.key(key, *form), home, key, self.storage) for task in tasks]
        records = {record.name: record for record in self._records(jobs) if record is not None}
        step_name = home.removeprefix("tmp/")
        self.progress.step(self.stage.name, step_name, len(jobs), len(records))
        if failed := self._run([job for job in jobs if job.name not in records], records, step_name):
            raise StageFailed(_failure(self.stage.name, step_name, failed, len(jobs)))
        if tasks:
            kind = type(tasks[0]).__name__
            self.usage[kind] = sum((record.usage for record in records.values()), self.usage.get(kind, Usage()))
        return Step([records[job.name] for job in sorted(jobs, key=lambda job: job.name)])

    def _run(self, todo: list[Job], records: dict[str, Record], step_name: str) -> list[Record]:
        """Run jobs, those again that fail for a transient reason; adds to ``records``, returns those of failures."""
        for attempt in range(1 + RETRIES):
            failed, again = [], []
            by_name = {job.name: job for job in todo}
            for record in self.engine.run(todo):
                self.check()
                self.tasks_run += 1
                if not record.error:
                    records[record.name] = record
                    if self.engine.name == "inline":
                        self.inline_usage += record.usage
                    self.progress.task(self.stage.name, step_name, record)
                elif record.transient and attempt < RETRIES:
                    again.append(self._again(by_name[record.name], record, step_name))
                else:
                    failed.append(record)
            todo = sorted(again, key=lambda job: job.name)
            if failed or not todo:
                return failed
            time.sleep(0.5 * 2**attempt)
        return []

    def _again(self, job: Job, record: Record, step_name: str) -> Job:
        """The job once more; with more memory only if it ran out of it."""
        if not record.out_of_memory:
            return job
        memory = max(2 * job.task.memory, LEAST_MEMORY)
        self.progress.say(f"{self.stage.name} ({step_name}): {job.name} ran out of memory; again, with {size(memory)}")
        return replace(job, task=replace(job.task, memory=memory))

    def _records(self, jobs: Sequence[Job]) -> list[Record | None]:
        """The record of every job that is done."""

        def read(job: Job) -> Record | None:
            try:
                place = f"{self.storage.url}/{job.place.record_path}"
                record = Record.from_json(self.storage.read(job.place.record_path), place)
            except (FileNotFoundError, ValueError):  # a power cut can leave an empty one
                return None
            return record if self.present(record.written) else None

        if len(jobs) < 8:
            return [read(job) for job in jobs]
        with ThreadPoolExecutor(16) as pool:  # one request each in an object store
            return list(pool.map(read, jobs))

    def publish(self, table: str | Exchange, step: Step) -> Snapshot:
        """A snapshot of an intermediate table (``tmp/…``), for later steps of this stage."""
        name = table.table if isinstance(table, Exchange) else table
        return self._intermediate(Snapshot(name, self.stage.name, self.stage_key, "", step.files(name), step.counters))

    def _intermediate(self, snapshot: Snapshot) -> Snapshot:
        """Put the manifest of an intermediate table, named by what it says: what a process has read of it stays true."""
        # Equal files may be written elsewhere after the first are deleted.
        paths = [file.path for file in snapshot.files]
        named = replace(snapshot, id=digest([snapshot.content, paths]))
        write_snapshot(self.storage, named)
        return named

    def write(
        self, table: str, tasks: Sequence[Task], details: dict[str, Any] | None = None, rows_key: str = ""
    ) -> Snapshot:
        """Run the tasks that write a table of this stage, and commit it with what they counted."""
        step = self.step(table, tasks)
        return self.commit(table, step.files(table), step.counters, details, rows_key)

    def commit(
        self,
        table: str,
        files: Sequence[TableFile],
        counters: Mapping[str, int] | None = None,
        details: dict[str, Any] | None = None,
        rows_key: str = "",
        losses: tuple[Loss, ...] = (),
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
            losses,
        )
        write_snapshot(self.storage, snapshot)
        self.tables[table] = snapshot
        return snapshot


def _failure(stage: str, step: str, failed: list[Record], total: int) -> str:
    shown = sorted(f"  {record.name}: {record.error}" for record in failed)[:3]
    more = [f"  … and {len(failed) - 3} more"] if len(failed) > 3 else []
    what = f"{len(failed)} of {total} tasks failed; the others are committed, and the same command goes on from there"
    return "\n".join([f"stage {stage} ({step}): {what}", *shown, *more])


GROWTH = 2
"""A model is called outdated when its sample could now be this many times as large."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the model of a stage is made.

    Attributes:
        name: of the artefact.
        settings: all that makes it another model.
        task: gives the task that fits it; called when it has to be fitted.
        size: what a sample taken now would hold, in ``unit``; 0 where the model does not depend on a sample.
    """

    name: str
    settings: Any
    task: Callable[[], Task]
    size: int = 0
    unit: str = "bytes of text"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A fitted model: its file, the digest of the tables that it was fitted on, and the size of its sample."""

    file: TableFile
    origin: str
    size: int


class ModelEntry:
    """Where the workspace notes a stage's model: ``artefacts/<key>/<name>.json``, put by whoever fits it first."""

    def __init__(self, storage: Storage, key: str, name: str) -> None:
        self._storage, self._path = storage, f"artefacts/{key}/{name}.json"
        self._raw: bytes | None = None

    def read(self) -> StoredModel | None:
        """The model that is noted.

        Raises:
            WorkspaceError: the note is damaged.
        """
        try:
            self._raw = self._storage.read(self._path)
        except FileNotFoundError:
            return None
        place = f"{self._storage.url}/{self._path}"
        try:
            known = decode(self._raw, place)
            return StoredModel(TableFile(**known["file"]), str(known["origin"]), int(known["size"]))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(f"{place} is damaged ({error}); delete it, and the model is fitted again") from None

    def put(self, model: StoredModel) -> StoredModel:
        """Note a model, unless somebody has noted one since it was read; returns the one that counts."""
        if self._storage.put_if(self._path, encode(asdict(model), sort_keys=True), self._raw):
            return model
        return self.read() or model
