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
from collections.abc import Iterator
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

RAY_ENVIRONMENT = {
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1",
}
"""Settings of Ray that it reads from the environment, where nobody has set them otherwise."""

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

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        """Records of all ``jobs``, as they finish."""

    def close(self) -> None:
        """Give back what the engine holds."""


class InlineEngine:
    """Tasks one after the other in this process."""

    name = "inline"

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        for job in jobs:
            yield run_job(job)

    def close(self) -> None:
        pass


class RayEngine:
    """Tasks as remote calls or rows of a Ray Data job.

    With the first of them, Ray is started in this process (with so many ``cpus``) or connected to at ``address``.
    """

    name = "ray"

    def __init__(self, cpus: int | None = None, address: str | None = None) -> None:
        self._cpus, self._address = cpus, address
        self._ray: Any = None
        self._owned = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Start Ray or connect to it, unless that is done; a Ray that this process has already is used as it is.

        Raises:
            RequestError: it cannot be started or reached.
        """
        if self._ray is not None:
            return
        # Set on purpose: a local Ray is private to this process, a cluster has its own mode and token.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled" if self._address is None else "token")
        for name, value in RAY_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import ray
        import ray.data

        self._owned = not ray.is_initialized()
        if self._owned:
            settings: dict[str, Any] = {"runtime_env": {"env_vars": WORKER_THREADS}, "address": self._address}
            if self._address is None:
                # Socket paths are limited to 107 bytes, and a shared folder would let a bare ray.init() join this run.
                place = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
                short = place if len(place) < 40 else None
                self._folder = tempfile.TemporaryDirectory(prefix="curate-", dir=short, ignore_cleanup_errors=True)
                settings |= {"address": "local", "_temp_dir": self._folder.name, "num_cpus": self._cpus}
                settings |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
            try:
                ray.init(logging_level="error", log_to_driver=False, **settings)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                what = "could not be started" if self._address is None else f"at {self._address} cannot be reached"
                raise RequestError(f"Ray {what}: {error}") from None
        self._ray = ray
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.verbose_progress = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        if not jobs:
            return
        self.start()
        cluster = self._ray.cluster_resources()
        # A request above what the cluster has would wait for ever.
        memory = min(max(job.task.memory for job in jobs), int(0.8 * cluster.get("memory", 0)))
        resources: dict[str, Any] = {"num_cpus": 1, **({"memory": memory} if memory else {})}
        gpus = int(cluster.get("GPU", 0)) if any(job.task.gpu for job in jobs) else 0
        threads = 1 if gpus else self._threads(int(cluster.get("CPU", 1)), len(jobs))
        if threads > 1:
            jobs = [replace(job, place=replace(job.place, threads=threads)) for job in jobs]
            resources["num_cpus"] = threads
        is_many = gpus or len(jobs) > FEW_TASKS
        yield from map(Record.from_json, self._many(jobs, resources, gpus) if is_many else self._few(jobs, resources))

    def _threads(self, cpus: int, tasks: int) -> int:
        """CPUs for each task: more than one when there are fewer tasks than CPUs.

        No more than the smallest node has, so that every node that could take a task still can.
        """
        if cpus < 2 * tasks:
            return 1
        sizes = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
        return min(cpus // tasks, min((size for size in sizes if size), default=1), MAX_THREADS)

    def _few(self, jobs: list[Job], resources: dict[str, Any]) -> Iterator[str]:
        """Records as JSON, each from a remote call of its own. One that dies with its process costs no other."""
        from ray.exceptions import RayError

        call = self._ray.remote(run_jobs).options(**resources)
        running = {call.remote(pickle.dumps([job])): job for job in jobs}
        while running:
            [done], _ = self._ray.wait(list(running))
            job = running.pop(done)
            try:
                yield from self._ray.get(done)
            except RayError as error:
                why = str(error).strip().splitlines()[0]
                yield Record(job.name, job.place.key, error=f"{type(error).__name__}: {why}", transient=True).to_json()

    def _many(self, jobs: list[Job], resources: dict[str, Any], gpus: int) -> Iterator[str]:
        """Records as JSON, from a Ray Data job; with GPUs in actors, where a model stays loaded."""
        import ray.data

        bundles = np.array_split(np.arange(len(jobs)), min(len(jobs), MAX_BUNDLES))
        rows = [{"jobs": pickle.dumps([jobs[i] for i in bundle])} for bundle in bundles]
        if gpus:
            resources |= {
                "num_gpus": 1,
                "compute": ray.data.ActorPoolStrategy(min_size=1, max_size=min(gpus, len(rows))),
            }
        function: Any = BundleActor if gpus else run_bundle
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            function, batch_size=1, **resources
        )
        for row in dataset.iter_rows():
            yield from json.loads(row["records"])

    def close(self) -> None:
        if self._ray is not None and self._owned:
            self._ray.shutdown()
        if self._folder is not None:
            self._folder.cleanup()


def run_jobs(descriptor: bytes) -> list[str]:
    """The remote function: runs pickled jobs, returns their records as JSON."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    jobs: list[Job] = pickle.loads(descriptor)
    return [run_job(job).to_json() for job in jobs]


def run_bundle(batch: dict[str, Any]) -> dict[str, list[str]]:
    """The map function: :func:`run_jobs` of each row of a batch, its records as a JSON list."""
    return {"records": [json.dumps(run_jobs(descriptor)) for descriptor in batch["jobs"]]}


class BundleActor:
    """:func:`run_bundle` in an actor that holds a GPU: what its tasks load stays loaded."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return run_bundle(batch)
