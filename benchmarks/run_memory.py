"""Peak memory, seconds and processor time of a whole run, Ray's processes included.

    python benchmarks/run_memory.py RECIPE [options of `curate run`] [--samples FILE.csv]

`curate run --json` is started as a child. Twice a second the proportional set size (PSS: a page shared by n processes
counts 1/n for each) of all its processes is summed. They are found by a mark in their environment, which Ray hands on
to whatever it starts, and by their parents, so that a process is found even if it clears its environment. Files that
the kernel caches are not counted. A peak shorter than the interval can be missed. Linux only.

The limit that a run is held against is 4 GiB and four times the text of its largest partition.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

import curate
from curate.driver.plan import stages
from curate.finished_run import Run

GIB = 2**30
INTERVAL_S = 0.5
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LOOKS = 4
MARK = "CURATE_RUN_MEMORY"
BASE_BYTES = 4 * GIB
FACTOR = 4
"""Limit of a run: BASE_BYTES + FACTOR × the text of the largest partition."""


class Processes:
    """The processes of a child: those with the mark in their environment, and all their descendants."""

    def __init__(self, root: int, mark: str) -> None:
        self._root, self._mark = root, f"{MARK}={mark}".encode()
        self._marked: dict[tuple[int, str], tuple[bool, int]] = {}
        self._ticks: dict[tuple[int, str], int] = {}

    def pids(self) -> list[int]:
        """Process ids, alive when looked at."""
        parents: dict[int, int] = {}
        ticks: dict[int, tuple[tuple[int, str], int]] = {}
        ours = {self._root}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                # The name in brackets may hold spaces and brackets; what follows the last one is fixed.
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[pid] = int(fields[1])
            # With its start time, since process ids are used again.
            ticks[pid] = (pid, fields[19]), int(fields[11]) + int(fields[12])
            if self._is_marked(pid, fields[19]):
                ours.add(pid)
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        ours &= parents.keys()
        self._ticks |= (ticks[pid] for pid in ours)
        return sorted(ours)

    def cpu_seconds(self) -> float:
        """Processor time of all processes seen so far, up to when each was last looked at."""
        return sum(self._ticks.values()) / TICKS_PER_S

    def _is_marked(self, pid: int, began: str) -> bool:
        marked, looks = self._marked.get((pid, began), (False, 0))
        # Looked at a few times while it is not there: between fork and exec a process shows its parent's environment.
        if not marked and looks < LOOKS:
            try:
                marked = self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                return False
            self._marked[pid, began] = (marked, looks + 1)
        return marked

    def pss(self) -> dict[int, int]:
        """Process id → PSS in bytes."""
        found = {}
        for pid in self.pids():
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        found[pid] = int(line.split()[1]) * 1024
                        break
            except OSError:  # it has ended
                continue
        return found


@dataclass
class Watch:
    """What was seen of a run: (seconds since the start, stage, bytes, bytes of the largest process, processes)."""

    stage: str = "start"
    samples: list[tuple[float, str, int, int, int]] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    """Stage → processor seconds of the run's processes; the half second of a change of stages goes to the later one."""
    own_seconds: float = 0.0
    """Processor time that the sampling itself took; it competes with the run."""
    ended: threading.Event = field(default_factory=threading.Event)

    def look(self, processes: Processes) -> None:
        """Sample until the run has ended."""
        began = time.monotonic()
        while not self.ended.is_set():
            at = time.monotonic() - began
            before, stage = processes.cpu_seconds(), self.stage
            if pss := processes.pss():
                self.samples.append((round(at, 2), stage, sum(pss.values()), max(pss.values()), len(pss)))
            self.cpu[stage] = self.cpu.get(stage, 0.0) + processes.cpu_seconds() - before
            self.own_seconds = time.thread_time()
            self.ended.wait(max(0.0, INTERVAL_S - (time.monotonic() - began - at)))

    def peaks(self) -> dict[str, tuple[int, int, int]]:
        """Stage → (most bytes together, most bytes of one process, most processes)."""
        found: dict[str, tuple[int, int, int]] = {}
        for _, stage, *numbers in self.samples:
            before = found.get(stage, (0, 0, 0))
            found[stage] = (max(before[0], numbers[0]), max(before[1], numbers[1]), max(before[2], numbers[2]))
        return found


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events that `curate run --json` prints; anything else goes to standard error."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            print(line, end="", file=sys.stderr)


def watched(arguments: list[str]) -> tuple[int, Watch, dict[str, Any]]:
    """Run `curate run` and watch it; returns its exit code, what was seen, and its last event."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "curate", "run", *(a for a in arguments if a != "--json"), "--json"]
    watch, last = Watch(), {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: mark}) as child:
        sampler = threading.Thread(target=watch.look, args=(Processes(child.pid, mark),))
        sampler.start()
        try:
            assert child.stdout is not None
            for event in events(iter(child.stdout)):
                if event["event"] == "stage":
                    watch.stage = event["title"]
                elif event["event"] == "stage_done":
                    state = "already there" if event["skipped"] else f"{event['note']} in {event['seconds']} s"
                    print(f"{event['title']}: {state}", file=sys.stderr)
                elif event["event"] == "note":
                    print(event["text"], file=sys.stderr)
                last = event
            child.wait()
        finally:
            watch.ended.set()
            sampler.join()
    return child.returncode, watch, last


def largest_partition(run: Run) -> int:
    """Bytes of text of the largest partition, from the documents themselves."""
    largest = 0
    for file in run.parquet_files("documents"):
        with run.open(file) as source:
            parquet = pq.ParquetFile(source)
            sizes = [
                pc.sum(pc.binary_length(parquet.read_row_group(group, ["text"])["text"])).as_py() or 0
                for group in range(parquet.num_row_groups)
            ]
        largest = max(largest, sum(sizes))
    return largest


def show(run: Run, watch: Watch, wall: float) -> None:
    """Print seconds and peaks a stage, and the peak of the whole against the limit, as Markdown."""
    peaks = watch.peaks()
    seconds = {tuple(entry["writes"]): entry["seconds"] for entry in run.state.stages}
    print("| stage | s | processor s | peak GiB | largest process GiB | processes |\n|---|---:|---:|---:|---:|---:|")
    for title, took in [("start", None), *((stage.title, seconds.get(stage.writes)) for stage in stages())]:
        most = peaks.get(title)
        if most is None and took is None:
            continue
        shown = [f"{most[0] / GIB:.2f}", f"{most[1] / GIB:.2f}", str(most[2])] if most else ["", "", ""]
        cpu = f"{watch.cpu[title]:.1f}" if title in watch.cpu else ""
        print(f"| {title} | {'' if took is None else f'{took:.1f}'} | {cpu} | {' | '.join(shown)} |")
    text = largest_partition(run)
    peak, limit = max(most[0] for most in peaks.values()), BASE_BYTES + FACTOR * text
    print(
        f"\nwall time          {wall:.1f} s, {len(watch.samples)} samples in {watch.own_seconds:.1f} s of processor time"
    )
    print(f"processor time     {sum(watch.cpu.values()):.1f} s")
    print(f"peak memory        {peak / GIB:.2f} GiB (sum of PSS)")
    print(f"largest partition  {text / 1e6:.1f} MB of text")
    print(f"limit              {limit / GIB:.2f} GiB = 4 GiB + {FACTOR} × largest partition")
    print(f"peak / limit       {peak / limit:.2f}")


def main(arguments: list[str]) -> int:
    """Run, watch, print; returns the run's exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    samples = None
    if "--samples" in arguments:
        at = arguments.index("--samples")
        samples = arguments[at + 1]
        del arguments[at : at + 2]
    began = time.monotonic()
    code, watch, last = watched(arguments)
    wall = time.monotonic() - began
    if samples is not None:
        with open(samples, "w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["seconds", "stage", "pss_bytes", "largest_process_bytes", "processes"])
            writer.writerows(watch.samples)
    if code == 0 and "workspace" in last:
        show(curate.open(last["workspace"]), watch, wall)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
