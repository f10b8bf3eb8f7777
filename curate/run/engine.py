"""Engines: the same tasks one after the other in this process, or as a Ray Data job over task descriptors.

One row of the Ray dataset is one bundle of tasks; the map function runs them, commits their outputs by itself and
returns their records, so nothing large passes through Ray's object store and a lost node costs only its tasks
(measured: 16 partitions of 60 MB in 3.6 s, where row datasets take 10 s and more).
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from curate.errors import RequestError
from curate.run.tasks import Record, Task, run_task

MAX_BUNDLES = 20_000
"""Rows of a Ray dataset at most; more tasks are bundled (about 10 ms of overhead a row)."""

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
"""One thread in a task: parallelism is between tasks."""


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

    def run(self, tasks: list[Task]) -> Iterator[Record]:
        """Records of all ``tasks``, as they finish."""
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...


class InlineEngine:
    """Tasks one after the other in this process."""

    name = "inline"
    cpus = 1

    def run(self, tasks: list[Task]) -> Iterator[Record]:
        import pyarrow as pa

        pa.set_cpu_count(1)
        for task in tasks:
            yield run_task(task)

    def close(self) -> None:
        pass


class RayEngine:
    """Tasks as rows of a Ray Data job, on a Ray that is started in this process or at ``address``."""

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

    def run(self, tasks: list[Task]) -> Iterator[Record]:
        import ray.data

        if not tasks:
            return
        bundles = np.array_split(np.arange(len(tasks)), min(len(tasks), MAX_BUNDLES))
        rows = [{"tasks": pickle.dumps([tasks[i] for i in bundle])} for bundle in bundles]
        # A request above what the cluster has would wait for ever.
        memory = min(max(task.memory for task in tasks), int(0.8 * self._ray.cluster_resources().get("memory", 0)))
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            run_bundle, batch_size=1, num_cpus=1, **({"memory": memory} if memory else {})
        )
        for row in dataset.iter_rows():
            for text in json.loads(row["records"]):
                yield Record.from_json(text)

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


def run_bundle(batch: dict[str, Any]) -> dict[str, list[str]]:
    """The map function: runs the bundles of a batch of descriptors, returns their records as JSON."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    found = []
    for descriptor in batch["tasks"]:
        tasks: Iterable[Task] = pickle.loads(descriptor)
        found.append(json.dumps([run_task(task).to_json() for task in tasks]))
    return {"records": found}
