"""Remote calls: each task asks for what it needs itself, and what a lost process or node was at work on runs again."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate.base.amounts import size
from curate.base.errors import RequestError
from curate.engine.context import Record
from curate.engine.nodes import Node, Request, able_nodes, fitted, waiting_text
from curate.engine.task import TRANSIENT, Job
from curate.engine.waiting import LOOK_S, Marks, Silence
from curate.engine.workers import Surroundings, run_task

MOST_CALLS = 1_000
"""Calls that run or wait, at most: an autoscaler sees what is needed, and the driver's memory does not grow with the tasks."""

RESTARTS = 3
"""Further runs of a task whose process or node died, before that counts as a failure of the task."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What calls need of a cluster.

    Attributes:
        ray: the module, connected.
        nodes: gives the live nodes, with what tasks can have of them.
        surroundings: what workers are told of the driver.
        say: gets remarks.
    """

    ray: Any
    nodes: Callable[[], list[Node]]
    surroundings: Surroundings
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Call:
    """A task on its way: what it asks for, the mark that it sets when it begins, and how often its process has died."""

    job: Job
    request: Request
    mark: str = ""
    deaths: int = 0


class Calls:
    """The calls of one step.

    Args:
        cluster: where they run.
        jobs: what is to be done, in the order in which it begins.
    """

    def __init__(self, cluster: Cluster, jobs: Sequence[Job]) -> None:
        self._cluster, self._ray = cluster, cluster.ray
        self._nodes = cluster.nodes()
        self._todo = deque(Call(job, Request(job.place.threads, job.task.memory)) for job in jobs)
        self._running: dict[Any, Call] = {}
        self._marks, self._silence = Marks(), Silence()

    def run(self) -> Iterator[Record]:
        """The record of every job, as they finish."""
        try:
            while self._todo or self._running:
                while self._todo and len(self._running) < MOST_CALLS:
                    self._send(self._todo.popleft())
                done, others = self._ray.wait([*self._running], timeout=LOOK_S)
                if done and others:  # all that have ended, not one after the other
                    done += self._ray.wait(others, num_returns=len(others), timeout=0)[0]
                if not done:
                    self._look()
                for reference in done:
                    self._silence.ends()
                    record = self._record(reference, self._running.pop(reference))
                    if record is not None:
                        yield record
        finally:
            self._marks.clear()

    def _send(self, call: Call) -> None:
        request, mark = fitted(call.request, self._nodes), self._marks.new()
        # Not tried again by Ray, which would let a task that needs more memory than there is run out of it for ever.
        remote = self._ray.remote(run_task).options(max_retries=0, **request.options)
        job = call.job
        reference = remote.remote(job.name, pickle.dumps(job), mark, self._cluster.surroundings)
        self._running[reference] = replace(call, mark=mark)

    def _record(self, reference: Any, call: Call) -> Record | None:
        """The record of a call that has ended; None when the task is to run once more."""
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        try:
            return Record.from_json(self._ray.get(reference))
        except RayTaskError as error:
            # Raised around the task: a node without this package, a descriptor that it cannot read.
            cause = error.cause if isinstance(error.cause, Exception) else error
            text = str(cause) if isinstance(cause, RequestError) else f"{type(cause).__name__}: {_first_line(cause)}"
            return self._failed(call, text, transient=isinstance(cause, TRANSIENT))
        except OutOfMemoryError as error:
            return self._ran_out(call, error)
        except RayError as error:
            self._nodes = self._cluster.nodes()
            if call.deaths < RESTARTS:
                self._todo.append(replace(call, deaths=call.deaths + 1))
                return None
            return self._failed(call, f"{type(error).__name__}: {_first_line(error)}", transient=True)

    def _ran_out(self, call: Call, error: Exception) -> Record:
        largest = max((node.memory for node in able_nodes(self._nodes)), default=0)
        if 0 < largest <= call.request.memory:
            text = (
                f"ran out of memory with all that the largest node has for tasks ({size(largest)}); add a larger node, or set "
                "a smaller ingest.partition_bytes"
            )
            return self._failed(call, text, transient=False)
        return self._failed(call, f"ran out of memory ({_first_line(error)})", transient=True, out_of_memory=True)

    def _failed(self, call: Call, error: str, *, transient: bool, out_of_memory: bool = False) -> Record:
        key = call.job.place.key
        return Record(call.job.name, key, error=error, transient=transient, out_of_memory=out_of_memory)

    def _look(self) -> None:
        """Say so when nothing has run for long; calls that no live node can meet any more ask again, for less."""
        if not self._silence.is_long():
            return
        nodes = self._cluster.nodes()
        waiting = self._waiting(nodes)
        if len(waiting) < len(self._running):
            self._silence.ends()
            return
        if self._silence.is_to_say():
            requests = [fitted(call.request, self._nodes) for call in [*waiting.values(), *self._todo]]
            self._cluster.say(waiting_text(self._silence.seconds, requests, nodes, free_of(self._ray)))
        able = able_nodes(nodes)
        for reference, call in waiting.items() if able else ():
            if fitted(call.request, nodes) != fitted(call.request, self._nodes):
                self._ray.cancel(reference, force=True)
                self._todo.append(self._running.pop(reference))
        self._nodes = nodes if able else self._nodes

    def _waiting(self, nodes: Sequence[Node]) -> dict[Any, Call]:
        """The calls that have not begun, or did so on a node that is gone."""
        begun, alive = self._marks.nodes(call.mark for call in self._running.values()), {node.id for node in nodes}
        return {reference: call for reference, call in self._running.items() if begun.get(call.mark) not in alive}


def free_of(ray: Any) -> dict[str, dict[str, float]]:
    """By node id, the resources that nobody uses; empty where Ray does not tell (through Ray's client)."""
    try:
        found: dict[str, dict[str, float]] = ray._private.state.available_resources_per_node()
    except Exception:  # a private function: it only makes a remark more exact
        return {}
    return found


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
