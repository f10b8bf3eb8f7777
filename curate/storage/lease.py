"""One writer: a lease on the workspace, taken, renewed and released by conditional puts.

A holder on this machine whose process has ended is replaced at once. The lease of a holder on another machine is watched
by this machine's monotonic clock: if it is not renewed for a whole period, the holder is dead.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.base.catalog import LEASE
from curate.base.errors import LeaseHeld, RunError
from curate.storage.interface import Storage

PERIOD_S = 60.0
RENEW_S = 15.0
POLL_S = 1.0


class Lease:
    """Held from :meth:`take` to :meth:`release`; once it is lost, :meth:`check` raises."""

    def __init__(
        self, storage: Storage, say: Callable[[str], None], period_s: float = PERIOD_S, renew_s: float = RENEW_S
    ) -> None:
        self._storage, self._say, self._period, self._renew = storage, say, period_s, renew_s
        self._content: dict[str, Any] = {}
        self._stop = threading.Event()
        self._lost = ""
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take the lease.

        Raises:
            LeaseHeld: a live run holds it; the message says which.
        """
        while True:
            current = self._read()
            content = {
                "epoch": 1 if current is None else self._judge(current),
                "owner": uuid.uuid4().hex,
                "pid": os.getpid(),
                "born": process_birth(os.getpid()),
                "host": host_mark(),
                "beat": 0,
            }
            if self._storage.put_if(LEASE, _encode(content), current):
                self._content = content
                break
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise RunError if the lease could not be renewed: another run may have taken over."""
        if self._lost:
            raise RunError(
                f"the lease on {self._storage.url} was lost ({self._lost}); stopped so that two runs do not mix. Run again to go on"
            )

    def release(self) -> None:
        """Release the lease."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            if self._read() == _encode(self._content):
                self._storage.delete(LEASE)
        except OSError as error:
            self._say(
                f"the lease on {self._storage.url} could not be given back ({error}); the next run waits for it to expire"
            )

    def _read(self) -> bytes | None:
        try:
            return self._storage.read(LEASE)
        except FileNotFoundError:
            return None

    def _judge(self, current: bytes) -> int:
        """The next epoch if the holder is dead; raises if it is alive."""
        try:
            holder = json.loads(current)
            epoch, pid, host = int(holder["epoch"]), int(holder["pid"]), str(holder["host"])
        except (ValueError, KeyError, TypeError):
            return 1  # torn by a full disk: nobody renews it
        if host == host_mark():
            if process_birth(pid) and process_birth(pid) == holder.get("born"):
                raise LeaseHeld(
                    f"process {pid} on this machine is running in workspace {self._storage.url}; wait for it, or stop it"
                )
            return epoch + 1
        self._say(
            f"waiting up to {self._period:.0f} s to see whether the run on another machine that holds {self._storage.url} is alive"
        )
        began = time.monotonic()
        while time.monotonic() - began < self._period:
            time.sleep(min(POLL_S, self._period / 4))
            seen = self._read()
            if seen is None:
                return epoch + 1
            if seen != current:
                raise LeaseHeld(
                    f"another machine (process {pid} there) is running in workspace {self._storage.url}; wait for it, or stop it"
                )
        return epoch + 1

    def _keep(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(self._renew):
            following = {**self._content, "beat": self._content["beat"] + 1}
            try:
                taken = self._storage.put_if(LEASE, _encode(following), _encode(self._content))
                if not taken and self._read() != _encode(following):  # else the put succeeded and its answer was lost
                    self._lost = "another run holds it"
                    return
                self._content, last = following, time.monotonic()
            except OSError as error:
                if time.monotonic() - last > self._period - self._renew:
                    self._lost = str(error)
                    return


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def host_mark() -> str:
    """An opaque mark of this machine and boot; the host name is never written."""
    parts = [os.uname().nodename]
    for place in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            parts.append(Path(place).read_text().strip())
        except OSError:
            continue
    return hashlib.blake2b(":".join(parts).encode(), digest_size=8).hexdigest()


def process_birth(pid: int) -> str:
    """A mark of the process that has this pid now; empty if there is none. It differs if the pid is reused."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
