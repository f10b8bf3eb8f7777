"""Engines: the same tasks one after the other in this process, or on Ray.

On Ray a few tasks are remote calls, and many are a Ray Data job over task descriptors: one row of the dataset is one
bundle of tasks. Either way a task commits its outputs by itself and returns its record, so nothing large passes through
Ray's object store and a lost node costs only its tasks (measured: 16 partitions of 60 MB in 3.6 s, where row datasets
take 10 s and more).
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from curate.base.errors import RequestError
from curate.engine.context import Record
from curate.engine.task import Job, run_job

MAX_BUNDLES = 20_000
"""Rows of a Ray dataset at most; more tasks are bundled (about 10 ms of overhead a row)."""

FEW_TASKS = 64
"""Up to this many tasks are remote calls (1 to 2 ms each, warm), more a Ray Data job (28 ms a row, measured, but bounded
memory in the driver and back-pressure): a dozen small steps a stage would else take longer than their work."""

OBJECT_STORE_BYTES = 256 * 1024**2
"""Object store of a local Ray: only descriptors and records pass through it."""

WORKER_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Libraries start no threads of their own: parallelism is between tasks, and in a task where its function asks for it."""

MAX_THREADS = 16
"""Threads of a task at most: beyond, what it does one after the other takes most of its time."""


class Engine(Protocol):
    """Runs tasks and yields their records in any order."""

    @property
    def name(self) -> str:
        """``inline`` or ``ray``."""
        ...

    @property
    def cpus(self) -> int:
        """Tasks that run at the same time."""
        ...

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        """Records of all ``jobs``, as they finish."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


class InlineEngine:
    """Tasks one after the other in this process."""

    name = "inline"
    cpus = 1

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        import pyarrow as pa

        pa.set_cpu_count(1)
        for job in jobs:
            yield run_job(job)

    def close(self) -> None:
        pass


class RayEngine:
    """Tasks as remote calls or rows of a Ray Data job, on a Ray that is started in this process or at ``address``."""

    name = "ray"

    def __init__(self, cpus: int | None = None, address: str | None = None) -> None:
        # Set on purpose: a local Ray is private to this process, a cluster has its own mode and token.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled" if address is None else "token")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("RAY_DATA_PARQUET_FOOTER_NUM_ACTORS", "1")
        import ray
        import ray.data

        self._ray = ray
        self._owned = not ray.is_initialized()
        if self._owned:
            settings: dict[str, Any] = {
                "logging_level": "error",
                "log_to_driver": False,
                "runtime_env": {"env_vars": WORKER_THREADS},
            }
            if address is None:
                settings |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
                # Socket paths are limited to 107 bytes, and a shared folder would let a bare ray.init() join this run.
                self._folder = tempfile.TemporaryDirectory(
                    prefix="curate-", dir=_short_folder(), ignore_cleanup_errors=True
                )
                settings["_temp_dir"] = self._folder.name
                settings["address"] = "local"
            else:
                settings["address"] = address
            try:
                ray.init(**settings)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise RequestError(
                    f"Ray {'could not be started' if address is None else f'at {address} cannot be reached'}: {error}"
                ) from None
        self.cpus = int(ray.cluster_resources().get("CPU", 1))
        _quiet()

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        if not jobs:
            return
        # A request above what the cluster has would wait for ever.
        memory = min(max(job.task.memory for job in jobs), int(0.8 * self._ray.cluster_resources().get("memory", 0)))
        resources: dict[str, Any] = {"num_cpus": 1, **({"memory": memory} if memory else {})}
        gpus = int(self._ray.cluster_resources().get("GPU", 0)) if any(job.task.gpu for job in jobs) else 0
        threads = 1 if gpus else self._threads(len(jobs))
        if threads > 1:
            jobs = [replace(job, place=replace(job.place, threads=threads)) for job in jobs]
            resources["num_cpus"] = threads
        if gpus:
            records = self._many(jobs, resources | {"num_gpus": 1}, gpus)
        else:
            records = (self._few if len(jobs) <= FEW_TASKS else self._many)(jobs, resources)
        for text in records:
            yield Record.from_json(text)

    def _threads(self, tasks: int) -> int:
        """CPUs for each task: more than one when there are fewer tasks than CPUs.

        No more than the smallest node has, so that every node that could take a task still can.
        """
        if self.cpus < 2 * tasks:
            return 1
        sizes = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        return min(self.cpus // tasks, min((size for size in sizes if size), default=1), MAX_THREADS)

    def _few(self, jobs: list[Job], resources: dict[str, Any]) -> Iterator[str]:
        """Records as JSON, each from a remote call of its own. One that dies with its process costs no other."""
        from ray.exceptions import RayError

        call = self._ray.remote(run_one).options(**resources)
        running = {call.remote(pickle.dumps(job)): job for job in jobs}
        while running:
            [done], _ = self._ray.wait(list(running))
            job = running.pop(done)
            try:
                yield self._ray.get(done)
            except RayError as error:
                why = str(error).strip().splitlines()[0]
                yield Record(job.name, job.place.key, error=f"{type(error).__name__}: {why}", transient=True).to_json()

    def _many(self, jobs: list[Job], resources: dict[str, Any], gpus: int = 0) -> Iterator[str]:
        """Records as JSON, from a Ray Data job; with GPUs in actors, where a model stays loaded."""
        import ray.data

        bundles = np.array_split(np.arange(len(jobs)), min(len(jobs), MAX_BUNDLES))
        rows = [{"jobs": pickle.dumps([jobs[i] for i in bundle])} for bundle in bundles]
        function: Any = run_bundle
        if gpus:
            function = BundleActor
            resources["compute"] = ray.data.ActorPoolStrategy(min_size=1, max_size=min(gpus, len(rows)))
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            function, batch_size=1, **resources
        )
        for row in dataset.iter_rows():
            yield from json.loads(row["records"])

    def close(self) -> None:
        if self._owned:
            self._ray.shutdown()
            if hasattr(self, "_folder"):
                self._folder.cleanup()


def _short_folder() -> str | None:
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return folder if len(folder) < 40 else None


def _quiet() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.verbose_progress = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def run_one(descriptor: bytes) -> str:
    """The remote function: runs one task, returns its record as JSON."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    return run_job(pickle.loads(descriptor)).to_json()


def run_bundle(batch: dict[str, Any]) -> dict[str, list[str]]:
    """The map function: runs the bundles of a batch of descriptors, returns their records as JSON."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    found = []
    for descriptor in batch["jobs"]:
        jobs: Iterable[Job] = pickle.loads(descriptor)
        found.append(json.dumps([run_job(job).to_json() for job in jobs]))
    return {"records": found}


class BundleActor:
    """:func:`run_bundle` in an actor that holds a GPU: what its tasks load stays loaded."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return run_bundle(batch)
