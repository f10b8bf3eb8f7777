"""Waiting on Ray: which tasks of a step have begun, so that a step of which nothing runs is noticed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

WAIT_S = 30.0
"""Seconds without any task at work after which a run says what it waits for."""

LOOK_S = 1.0
"""Between two looks at calls of which none ends."""

AGAIN_S = 120.0
"""Between two such remarks."""


class Marks:
    """Marks that the tasks of a step set when they begin, in the key-value store of Ray's head (about 1 ms each).

    Neither a call's state nor its start can be asked of Ray without its dashboard.
    """

    def __init__(self) -> None:
        self._prefix = f"curate-{uuid.uuid4().hex}-"
        self._number = 0

    def new(self) -> str:
        """A name for a task's mark."""
        self._number += 1
        return f"{self._prefix}{self._number}"

    def nodes(self, marks: Iterable[str]) -> dict[str, str]:
        """Ids of the nodes on which tasks have begun, by mark."""
        from ray.experimental import internal_kv

        found = {}
        for mark in marks:
            if (node := internal_kv._internal_kv_get(mark.encode())) is not None:
                found[mark] = node.decode()
        return found

    def clear(self) -> None:
        """Remove all marks."""
        from ray.experimental import internal_kv

        if self._number:
            internal_kv._internal_kv_del(self._prefix.encode(), del_by_prefix=True)


def set_mark(mark: str) -> None:
    """Note, in a worker, that a task has begun on this node."""
    import ray
    from ray.experimental import internal_kv

    internal_kv._internal_kv_put(mark.encode(), ray.get_runtime_context().get_node_id().encode())


class Silence:
    """How long nothing has run, and whether that is to be said."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._said = 0.0

    def ends(self) -> None:
        """Something runs."""
        self._since, self._said = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self._since

    def is_long(self) -> bool:
        """Whether it has lasted so long that it is time to look what is at work."""
        return self.seconds >= WAIT_S

    def is_to_say(self) -> bool:
        """Whether to say so now: once it is long, then now and again."""
        if not self.is_long() or (self._said and time.monotonic() - self._said < AGAIN_S):
            return False
        self._said = time.monotonic()
        return True
