"""Engines: the same tasks one after the other in this process, or on Ray.

On Ray a task is a remote call that asks for what it needs itself; tasks that run a model on a GPU are rows of a Ray Data
job, whose actors keep the model loaded. Either way a task commits its outputs by itself and returns its record, so
nothing large passes through Ray's object store and a lost node costs only its tasks.
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from curate.base.errors import RequestError
from curate.engine.calls import Calls, Cluster, free_of
from curate.engine.carried import Carried
from curate.engine.context import Record
from curate.engine.nodes import (
    Node,
    Request,
    able_nodes,
    adds_nodes,
    fitted,
    largest_node,
    live_nodes,
    threads_for,
    waiting_text,
)
from curate.engine.task import Job, run_job
from curate.engine.waiting import LOOK_S, Marks, Silence
from curate.engine.workers import Greeting, TaskActor, greet, mismatch, own_versions, working_folder
from curate.storage.interface import Storage
from curate.storage.local import LocalStorage

PATIENCE_S = {False: 60.0, True: 600.0}
"""Seconds to wait for the first node that could hold a task, by whether the cluster can add nodes."""

GREETING_S = 60.0
"""Seconds to wait for what the nodes answer before the first task; those that are slower are looked at by their tasks."""

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


def token_remedy(error: Exception) -> str:
    """What is wrong, and what to do, when a cluster and this process do not agree on Ray's token; '' for other errors."""
    text = str(error)
    if not any(sign in text for sign in ("uthenticat", "401", "403", "oken")):
        return ""
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return "asks for a token, and RAY_AUTH_MODE is disabled here; leave that out and set RAY_AUTH_TOKEN to the cluster's"
    default = Path.home() / ".ray" / "auth_token"
    if not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")) and not default.exists():
        return (
            "needs a token, and there is none here: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with it, to the "
            "cluster's; only for a cluster that asks for none, set RAY_AUTH_MODE=disabled"
        )
    return "refuses the token; set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's"


def _silent(text: str) -> None:
    """Where remarks go that nobody wants."""


class RayEngine:
    """Tasks as remote calls; those that want a GPU, where there is one, as rows of a Ray Data job.

    With the first of them, Ray is started in this process (with so many ``cpus``) or connected to at ``address``.

    Args:
        cpus: processors of a Ray that is started; None: all.
        address: of a cluster; None: start one.
        say: gets remarks, as on what a step waits for.
        carried: where tasks find the files that the recipe names.
    """

    name = "ray"

    def __init__(
        self,
        cpus: int | None = None,
        address: str | None = None,
        say: Callable[[str], None] = _silent,
        carried: Carried | None = None,
    ) -> None:
        self._cpus, self._address, self._say = cpus, address, say
        self._carried = carried or Carried()
        self._ray: Any = None
        self._owned = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._driver, self._held, self._has_looked = "", 0.0, False

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
            except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
                if self._address is None:
                    raise RequestError(f"Ray could not be started: {error}") from None
                why = token_remedy(error) or f"cannot be reached: {error}"
                raise RequestError(f"the Ray cluster at {self._address} {why}") from None
        self._ray = ray
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.verbose_progress = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._find_driver()

    def _find_driver(self) -> None:
        """Note on which node this process runs, what it holds there, and whether Ray carries its files to the others."""
        context = self._ray.get_runtime_context()
        self._driver = str(context.get_node_id())
        if self._address is None:
            return
        self._held = self._held_now()
        if context.runtime_env.get("working_dir"):
            self._carried = replace(self._carried, folder=working_folder())

    def _held_now(self) -> float:
        """What the driver holds of its node while no task of it runs: the processor that it was submitted with, if so.

        What others hold there cannot be told apart, and ends some time.
        """
        [has] = [node["Resources"] for node in self._ray.nodes() if node["NodeID"] == self._driver] or [{}]
        free = free_of(self._ray).get(self._driver)
        return 0.0 if free is None else min(1.0, max(0.0, has.get("CPU", 0) - free.get("CPU", 0)))

    def run(self, jobs: list[Job]) -> Iterator[Record]:
        if not jobs:
            return
        self.start()
        nodes = self._able_nodes()
        if self._address is not None and not self._has_looked:
            self._look_at_nodes(jobs[0].place.storage)
            self._has_looked = True
        gpus = sum(node.gpus for node in nodes) if any(job.task.gpu for job in jobs) else 0
        if gpus:
            yield from self._on_gpus(jobs, nodes, gpus)
            return
        threads = threads_for(nodes, len(jobs))
        jobs = [replace(job, place=replace(job.place, threads=threads)) for job in jobs]
        yield from Calls(Cluster(self._ray, self._nodes, self._surroundings(), self._say), jobs).run()

    def _nodes(self) -> list[Node]:
        return live_nodes(self._ray.nodes(), self._driver, self._held)

    def _surroundings(self) -> dict[str, Any]:
        return {**own_versions(), "carried": pickle.dumps(self._carried)}

    def _able_nodes(self) -> list[Node]:
        """The live nodes that can hold a task; waits for the first of them.

        Raises:
            RequestError: none has come.
        """
        silence, asked = Silence(), False
        while not (able := able_nodes(nodes := self._nodes())):
            if not asked:
                asked = True
                self._ask_for_nodes([Request().options])
                patience = PATIENCE_S[self._adds_nodes()]
            needs = f"a task needs {Request()}" + (" beside the driver's" if self._held else "")
            has = (
                f"the largest of {len(nodes):,} nodes has {largest_node(nodes)} for tasks"
                if nodes
                else "no node is there"
            )
            if silence.seconds >= patience:
                raise RequestError(
                    f"no node of the cluster can ever hold a task: {needs}, and {has} ({patience:.0f} s waited); add a worker "
                    "node, or one with more processors"
                )
            if silence.is_to_say():
                self._say(f"waiting for a node: {needs}, and {has}")
            time.sleep(LOOK_S)
            self._held = min(self._held, self._held_now())
        if asked:
            self._ask_for_nodes([])
        return able

    def _ask_for_nodes(self, bundles: list[dict[str, Any]]) -> None:
        """Tell an autoscaler, if there is one, what is needed; tasks that it could see do not wait yet."""
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=[{"CPU": bundle["num_cpus"]} for bundle in bundles])

    def _adds_nodes(self) -> bool:
        from ray.experimental import internal_kv

        is_new = internal_kv._internal_kv_get(b"__autoscaler_v2_enabled", namespace=b"") == b"1"
        return adds_nodes(internal_kv._internal_kv_get(b"__autoscaling_status"), is_new)

    def _look_at_nodes(self, storage: Storage) -> None:
        """Compare versions with every node, and look whether it sees a workspace that is a folder.

        Raises:
            RequestError: a node has other versions, has no ``curate``, or does not see the workspace.
        """
        from ray.exceptions import RayError, RayTaskError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        call = self._ray.remote(greet)
        with _marked(storage) as mark:
            asked = {}
            for node in able_nodes(self._nodes()):
                there = NodeAffinitySchedulingStrategy(node.id, soft=False)
                options = call.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
                asked[options.remote(mark)] = node
            done, slow = self._ray.wait([*asked], num_returns=len(asked), timeout=GREETING_S)
            for reference in done:
                try:
                    self._check(self._ray.get(reference), storage)
                except RayTaskError as error:
                    text = f"a node of the cluster cannot run curate {own_versions()['curate']}: {error.cause or error}"
                    raise RequestError(f"{text}; start every node from one image or environment") from None
                except RayError:  # the node was lost
                    continue
        if slow:
            self._say(f"{len(slow):,} of {len(asked):,} nodes have not answered within {GREETING_S:.0f} s")

    def _check(self, found: Greeting, storage: Storage) -> None:
        if wrong := mismatch(own_versions(), found.versions, found.host):
            raise RequestError(wrong)
        if not found.sees_workspace:
            raise RequestError(
                f"node {found.host} does not see the workspace {storage.url}; write workspace: s3://bucket/prefix, or a "
                "folder on a disk that every node shares"
            )

    def _on_gpus(self, jobs: Sequence[Job], nodes: Sequence[Node], gpus: int) -> Iterator[Record]:
        """Records from actors that hold a GPU each."""
        import ray.data

        marks = Marks()
        rows = [{"name": job.name, "job": pickle.dumps(job), "mark": marks.new()} for job in jobs]
        request = fitted(Request(memory=max(job.task.memory for job in jobs), gpus=1), nodes)
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            TaskActor,
            fn_constructor_args=(self._surroundings(),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(gpus, len(rows))),
            **request.options,
        )
        with self._watched(marks, [str(row["mark"]) for row in rows], request) as count_record:
            for row in dataset.iter_rows():
                count_record()
                yield Record.from_json(row["record"])

    @contextmanager
    def _watched(self, marks: Marks, names: Sequence[str], request: Request) -> Iterator[Callable[[], None]]:
        """Say so when nothing runs of a job that this process waits for; yields what is to be called for each record.

        ``names`` are the marks of the job's tasks.
        """
        silence, is_over, records = Silence(), threading.Event(), 0

        def count_record() -> None:
            nonlocal records
            records += 1
            silence.ends()

        def watch() -> None:
            while not is_over.wait(LOOK_S):
                if silence.is_long():
                    nodes = self._nodes()
                    alive = {node.id for node in nodes}
                    if sum(node in alive for node in marks.nodes(names).values()) > records:
                        silence.ends()
                    elif silence.is_to_say():
                        self._say(waiting_text(silence.seconds, [request], nodes, free_of(self._ray)))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield count_record
        finally:
            is_over.set()
            thread.join()
            marks.clear()

    def close(self) -> None:
        if self._ray is not None and self._owned:
            self._ray.shutdown()
        if self._folder is not None:
            self._folder.cleanup()


@contextmanager
def _marked(storage: Storage) -> Iterator[str]:
    """The path of a mark in a workspace that is a folder, for as long as the block lasts; '' for another workspace."""
    if not isinstance(storage, LocalStorage):
        yield ""
        return
    name = f"tmp/greeting-{uuid.uuid4().hex}"
    storage.put(name, b"")
    try:
        yield str(storage.local(name))
    finally:
        storage.delete(name)
