"""What runs in Ray's workers: a task by its descriptor, and the greeting by which a driver knows its nodes."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.base.errors import RequestError
from curate.base.versions import __version__
from curate.engine.waiting import set_mark

Surroundings = dict[str, Any]
"""What a worker is told of its driver, in plain values that any version can read: ``curate``, ``python`` (versions) and
``carried`` (pickled)."""


def own_versions() -> dict[str, str]:
    """The versions of this package and of Python that a driver and its workers must have in common."""
    return {"curate": __version__, "python": ".".join(platform.python_version_tuple()[:2])}


def mismatch(driver: dict[str, Any], worker: dict[str, Any], where: str) -> str:
    """What differs between the driver and a node; '' when nothing does."""
    names = {"curate": "curate", "python": "Python"}
    differ = [name for name in names if driver[name] != worker[name]]
    if not differ:
        return ""
    has, wants = (", ".join(f"{names[name]} {one[name]}" for name in differ) for one in (worker, driver))
    return f"node {where} has {has}, the driver {wants}; start every node from one image or environment"


def run_task(name: str, descriptor: bytes, mark: str, driver: Surroundings) -> str:
    """The remote function: runs a pickled job, returns its record as JSON.

    Raises:
        RequestError: this node's versions are not those of the driver.
    """
    import pickle

    import pyarrow as pa

    from curate.engine.task import run_job

    set_mark(mark)
    if wrong := mismatch(driver, own_versions(), platform.node()):
        raise RequestError(wrong)
    pa.set_cpu_count(1)
    carried = pickle.loads(driver["carried"])
    return run_job(pickle.loads(descriptor), carried.on_this_node).to_json()


class TaskActor:
    """:func:`run_task` for the rows of a dataset, in an actor that holds a GPU: what its tasks load stays loaded."""

    def __init__(self, driver: Surroundings) -> None:
        self._driver = driver

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        rows = zip(batch["name"], batch["job"], batch["mark"], strict=True)
        return {"record": [run_task(str(name), job, str(mark), self._driver) for name, job, mark in rows]}


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a node answers.

    Attributes:
        versions: as :func:`own_versions`.
        host: the node's name.
        sees_workspace: whether it has the driver's mark in a workspace that is a folder.
    """

    versions: dict[str, str]
    host: str
    sees_workspace: bool


def greet(mark: str) -> Greeting:
    """The remote function by which a driver looks at a node; ``mark`` is a path, or '' for a workspace in an object store."""
    return Greeting(own_versions(), platform.node(), not mark or Path(mark).is_file())


def working_folder() -> str:
    """The current folder, also where it has been removed since."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.environ.get("PWD", "")
