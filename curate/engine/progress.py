"""Progress: what a run is doing, on a terminal, as plain lines, or as JSON events."""

from __future__ import annotations

import json
import sys
import time
from typing import IO, Any

from curate.base.terminal import printable
from curate.engine.context import Record

PLAIN_INTERVAL_S = 5.0


class Progress:
    """What a run tells while it works. This class says nothing; others override what they tell."""

    def stage(self, name: str, title: str, number: int, total: int) -> None:
        """A stage begins."""

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        """A step of the stage begins: its tasks, and how many were done before."""

    def task(self, stage: str, step: str, record: Record) -> None:
        """A task has finished."""

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        """A stage has ended; ``note`` says in a few words what came of it."""

    def say(self, text: str) -> None:
        """A remark."""

    def close(self) -> None:
        """The run has ended."""


class _MeteredProgress(Progress):
    """Measures tasks, rows, bytes and rate of the current step."""

    def __init__(self) -> None:
        _MeteredProgress.step(self, "", "", 0, 0)

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        self._name, self._tasks, self._before, self._done = step, tasks, done, done
        self._rows = self._bytes = 0
        self._began = time.monotonic()

    def task(self, stage: str, step: str, record: Record) -> None:
        self._done += 1
        self._rows += sum(file.rows for file in record.written)
        self._bytes += sum(file.bytes for file in record.written)

    @property
    def _state(self) -> str:
        elapsed = max(time.monotonic() - self._began, 1e-6)
        new, left = self._done - self._before, self._tasks - self._done
        eta = f", {elapsed / new * left:.0f} s to go" if new and left > 0 else ""
        rate = f" ({self._bytes / 1e6 / elapsed:.1f} MB/s)" if elapsed > 1 else ""
        written = f"{self._rows:,} rows, {self._bytes / 1e6:,.1f} MB written"
        return f"{self._name}: {self._done}/{self._tasks} tasks, {written}{rate}{eta}"


class PlainProgress(_MeteredProgress):
    """One line an event; a long step reports every few seconds."""

    def __init__(self, out: IO[str] | None = None) -> None:
        super().__init__()
        self._out = out or sys.stderr
        self._last = 0.0

    def task(self, stage: str, step: str, record: Record) -> None:
        super().task(stage, step, record)
        if time.monotonic() - max(self._last, self._began) > PLAIN_INTERVAL_S:
            self._last = time.monotonic()
            self.say(f"  {self._state}")

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        self.say(f"{title}: already there" if skipped else f"{title}: {note} in {seconds:.1f} s")

    def say(self, text: str) -> None:
        print(printable(text), file=self._out, flush=True)


class TerminalProgress(_MeteredProgress):
    """A live line for the running step, above it the finished stages."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self._console = Console(stderr=True, highlight=False)
        self._status = Status("", console=self._console)
        self._status.start()
        self._head = ""
        super().__init__()

    def stage(self, name: str, title: str, number: int, total: int) -> None:
        self._head = f"[{number}/{total}] {title}"
        self._show(self._head)

    def step(self, stage: str, step: str, tasks: int, done: int) -> None:
        super().step(stage, step, tasks, done)
        self._show(f"{self._head} · {self._state}")

    def task(self, stage: str, step: str, record: Record) -> None:
        super().task(stage, step, record)
        self._show(f"{self._head} · {self._state}")

    def _show(self, text: str) -> None:
        self._status.update(text.replace("[", "\\["))

    def stage_done(self, name: str, title: str, seconds: float, skipped: bool, note: str) -> None:
        mark = "[dim]·[/dim]" if skipped else "[green]✓[/green]"
        text = "already there" if skipped else f"{note} [dim]{seconds:.1f} s[/dim]"
        self._console.print(f"{mark} {title}: {text}")

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False)

    def close(self) -> None:
        self._status.stop()


class JsonProgress(Progress):
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
        rows, size = (sum(getattr(file, what) for file in record.written) for what in ("rows", "bytes"))
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
