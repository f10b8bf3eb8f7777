"""Errors that people read: what was wrong, where, and what to do.

CurateError
├── RequestError      the request was wrong: exit code 2, nothing was started
│   ├── RecipeError       a recipe: names the file, the key and the remedy
│   ├── InputError        an input: missing, empty, not readable, without the text field
│   ├── WorkspaceError    a workspace: missing, not writable, of another schema version
│   │   └── DamagedFile       one of its files: missing, changed, or not what a run writes
│   └── LeaseHeld         another live run holds the workspace
└── RunError          something failed while running: exit code 1
    ├── StageFailed       partitions of a stage failed after their retries
    └── RemovalAlarm      a source lost more than the recipe allows, and the recipe asks to stop
"""

from __future__ import annotations


class CurateError(Exception):
    """The root: its text is shown to the user without a traceback."""

    exit_code = 1


class RequestError(CurateError):
    """The request was wrong; nothing was started."""

    exit_code = 2


class RecipeError(RequestError):
    """A recipe is wrong; the message names the file, the key and the remedy."""


class InputError(RequestError):
    """An input is missing, empty, unreadable, or lacks the text field."""


class WorkspaceError(RequestError):
    """A workspace is missing, not writable, damaged, or of another schema version."""


class DamagedFile(WorkspaceError):
    """A file of a workspace is missing, has changed, or holds what no run writes.

    Attributes:
        place: the file's URL or path, as people know it.
        what: what is wrong with it, as the rest of a sentence that begins with ``place``.
        remedy: what to do.
    """

    def __init__(self, place: str, what: str, remedy: str) -> None:
        super().__init__(place, what, remedy)
        self.place, self.what, self.remedy = place, what, remedy

    def __str__(self) -> str:
        return f"{self.place} {self.what}; {self.remedy}"


class LeaseHeld(RequestError):
    """Another live run holds the workspace."""


class RunError(CurateError):
    """A run failed after it had started; what is committed stays."""


class StageFailed(RunError):
    """Partitions of a stage failed after their retries; the message names them."""


class RemovalAlarm(RunError):
    """A source lost more than the recipe allows at one step, and the recipe asks to stop; nothing later was computed."""
