"""What goes wrong inside a process that runs a recipe: it is killed at a chosen write, its disk fails, its clock jumps."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from curate.engine import engines as engine
from curate.engine.context import Record
from curate.engine.task import Job
from curate.storage.local import LocalStorage


def count_writes() -> Callable[[], int]:
    """From now on, files that appear in a local workspace are counted; the function tells how many there were."""
    seen = 0
    replace = os.replace

    def counted(source: str | Path, target: str | Path) -> None:
        nonlocal seen
        seen += 1
        replace(source, target)

    os.replace = counted
    return lambda: seen


def die_at_write(number: int, moment: str) -> None:
    """``kill -9`` this process at its ``number``-th write: ``before`` the file appears, ``after``, or with half of it written."""
    seen = 0
    replace = os.replace

    def deadly(source: str | Path, target: str | Path) -> None:
        nonlocal seen
        seen += 1
        if seen == number and moment == "half":
            os.truncate(source, os.path.getsize(source) // 2)
        if seen == number and moment == "after":
            replace(source, target)
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = deadly


def fail_now_and_then(rng: random.Random, share: float) -> None:
    """The disk answers a share of the writes and of the openings with an I/O error."""
    replace, fsync, opened = os.replace, os.fsync, LocalStorage.open

    def maybe() -> None:
        if rng.random() < share:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def bad_replace(source: str | Path, target: str | Path) -> None:
        maybe()
        replace(source, target)

    def bad_fsync(descriptor: int) -> None:
        maybe()
        fsync(descriptor)

    def bad_open(self: LocalStorage, path: str) -> object:
        maybe()
        return opened(self, path)

    os.replace, os.fsync, LocalStorage.open = bad_replace, bad_fsync, bad_open


def limit_files(size: int) -> None:
    """No file may grow beyond ``size`` bytes: the kernel refuses the write, as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def starve_task(number: int, more: int) -> None:
    """While the ``number``-th task runs, this process gets only ``more`` bytes beyond the address space it has."""
    run_job, seen = engine.run_job, 0

    def starved(job: Job) -> Record:
        nonlocal seen
        seen += 1
        if seen != number:
            return run_job(job)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            return run_job(job)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    engine.run_job = starved


def jump_clock(rng: random.Random) -> None:
    """The wall clock jumps by up to a year, back and forth, at every look; the files get such times as well."""
    real, real_ns, replace = time.time, time.time_ns, os.replace
    year = 365 * 86_400

    def touched(source: str | Path, target: str | Path) -> None:
        when = real() + rng.uniform(-year, year)
        os.utime(source, (when, when))
        replace(source, target)

    time.time = lambda: real() + rng.uniform(-year, year)
    time.time_ns = lambda: real_ns() + rng.randint(-year, year) * 10**9
    os.replace = touched
