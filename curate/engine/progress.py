"""Progress: what a run is doing, on a terminal, as plain lines, or as JSON events."""

from __future__ import annotations

import json
import sys
import time
from typing import IO, Any, Protocol

from curate.engine.context import Record

PLAIN_INTERVAL_S = 5.0


class Progress(Protocol):
    """What the run tells while it works."""

    def stage(self, name: str, title: str, number: int, total: int) -> None:
        """A stage begins."""
        ...

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        """A step of the stage begins: its tasks, and how many were done before."""
        ...

    def task(self, stage: str, step: str, record: Record) -> None:
        """A task has finished."""
        ...

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        """A stage has ended; ``note`` says in a few words what came of it."""
        ...

    def say(self, text: str) -> None:
        """A remark."""
        ...

    def close(self) -> None:
        """The run has ended."""
        ...


class _Meter:
    """Rows, bytes and rate of the current step."""

    def __init__(self) -> None:
        self.start("", 0, 0)

    def start(self, step: str, tasks: int, done: int) -> None:
        self.name, self.tasks, self.before, self.done = step, tasks, done, done
        self.rows = self.bytes = 0
        self.began = time.monotonic()

    def add(self, record: Record) -> None:
        self.done += 1
        for files in record.files.values():
            self.rows += sum(file.rows for file in files)
            self.bytes += sum(file.bytes for file in files)

    def __str__(self) -> str:
        elapsed = max(time.monotonic() - self.began, 1e-6)
        fresh = self.done - self.before
        eta = f", {elapsed / fresh * (self.tasks - self.done):.0f} s to go" if fresh and self.done < self.tasks else ""
        rate = f" ({self.bytes / 1e6 / elapsed:.1f} MB/s)" if elapsed > 1 else ""
        return f"{self.done}/{self.tasks} tasks, {self.rows:,} rows, {self.bytes / 1e6:,.1f} MB written{rate}{eta}"


class NoProgress:
    """Says nothing (library use, tests)."""

    def stage(self, name: str, title: str, number: int, total: int) -> None: ...

    def step(self, stage: str, step: str, tasks: int, done: int) -> None: ...

    def task(self, stage: str, step: str, record: Record) -> None: ...

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class PlainProgress(NoProgress):
    """One line an event; a long step reports every few seconds."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stderr
        self._meter = _Meter()
        self._last = 0.0

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        self._meter.start(step, tasks, done)
        self._last = time.monotonic()

    def task(self, stage: str, step: str, record: Record) -> None:
        self._meter.add(record)
        if time.monotonic() - self._last > PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            self._line(f"  {step}: {self._meter}")

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        self._line(f"{title}: already there" if skipped else f"{title}: {note} in {seconds:.1f} s")

    def say(self, text: str) -> None:
        self._line(text)


class TerminalProgress(NoProgress):
    """A live line for the running step, above it the finished stages."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self._console = Console(stderr=True, highlight=False)
        self._status = Status("", console=self._console)
        self._status.start()
        self._meter = _Meter()
        self._head = ""

    def stage(self, name: str, title: str, number: int, total: int) -> None:
        self._head = f"[{number}/{total}] {title}"
        self._status.update(self._head.replace("[", "\\["))

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        self._meter.start(step, tasks, done)
        self._show()

    def task(self, stage: str, step: str, record: Record) -> None:
        self._meter.add(record)
        self._show()

    def _show(self) -> None:
        self._status.update(f"{self._head} · {self._meter.name}: {self._meter}".replace("[", "\\["))

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        mark = "[dim]·[/dim]" if skipped else "[green]✓[/green]"
        text = "already there" if skipped else f"{note} [dim]{seconds:.1f} s[/dim]"
        self._console.print(f"{mark} {title}: {text}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def close(self) -> None:
        self._status.stop()


class JsonProgress(NoProgress):
    """One JSON object a line."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout

    def _event(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=self._out, flush=True)

    def stage(self, name: str, title: str, number: int, total: int) -> None:
        self._event("stage", stage=name, title=title, number=number, total=total)

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        self._event("step", stage=stage, step=step, tasks=tasks, done=done)

    def task(self, stage: str, step: str, record: Record) -> None:
        rows = sum(file.rows for files in record.files.values() for file in files)
        size = sum(file.bytes for files in record.files.values() for file in files)
        self._event("task", stage=stage, step=step, task=record.name, rows=rows, bytes=size, seconds=record.seconds)

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        self._event("stage_done", stage=name, title=title, seconds=round(seconds, 2), skipped=skipped, note=note)

    def say(self, text: str) -> None:
        self._event("note", text=text)


def choose_progress(as_json: bool) -> Progress:
    """Live on a terminal, plain lines elsewhere, JSON events when asked."""
    if as_json:
        return JsonProgress()
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()
