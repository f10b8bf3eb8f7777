"""One writer: live holders are respected, dead ones replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from curate.base.catalog import LEASE
from curate.base.errors import LeaseHeld, RunError
from curate.storage.lease import Lease, host_mark, process_birth
from curate.storage.local import LocalStorage


def lease(storage, **times) -> Lease:
    return Lease(storage, lambda text: None, **times)


def test_a_second_run_is_refused_and_told_by_whom(tmp_path):
    storage = LocalStorage(tmp_path)
    first = lease(storage)
    first.take()
    with pytest.raises(LeaseHeld, match=f"process {os.getpid()} on this machine"):
        lease(storage).take()
    first.release()
    assert not storage.exists(LEASE)
    again = lease(storage)
    again.take()
    again.release()


def test_the_lease_of_a_dead_process_is_taken_over_at_once(tmp_path):
    code = (
        "import os\nfrom curate.storage.lease import Lease\nfrom curate.storage.local import LocalStorage\n"
        f"Lease(LocalStorage({str(tmp_path)!r}), print).take()\nos._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    storage = LocalStorage(tmp_path)
    dead = json.loads(storage.read(LEASE))
    mine = lease(storage)
    mine.take()
    assert json.loads(storage.read(LEASE))["epoch"] == dead["epoch"] + 1
    mine.release()


def test_a_reused_pid_does_not_keep_a_lease_alive(tmp_path):
    storage = LocalStorage(tmp_path)
    held = {"epoch": 4, "owner": "x", "pid": os.getpid(), "born": "0", "host": host_mark(), "beat": 0}
    storage.put(LEASE, json.dumps(held).encode())
    mine = lease(storage)
    mine.take()
    assert json.loads(storage.read(LEASE))["epoch"] == 5
    mine.release()


def test_a_silent_holder_elsewhere_is_replaced_after_a_period(tmp_path):
    storage = LocalStorage(tmp_path)
    held = {"epoch": 4, "owner": "x", "pid": 1, "born": "1", "host": "elsewhere", "beat": 0}
    storage.put(LEASE, json.dumps(held).encode())
    said = []
    mine = Lease(storage, said.append, period_s=0.3, renew_s=0.1)
    mine.take()
    assert "waiting" in said[0]
    assert json.loads(storage.read(LEASE))["epoch"] == 5
    mine.release()


def test_a_holder_elsewhere_that_renews_is_alive(tmp_path):
    storage = LocalStorage(tmp_path)
    held = {"epoch": 4, "owner": "x", "pid": 77, "born": "1", "host": "elsewhere", "beat": 0}
    storage.put(LEASE, json.dumps(held).encode())
    timer = threading.Timer(0.3, lambda: storage.put(LEASE, json.dumps(held | {"beat": 1}).encode()))
    timer.start()
    with pytest.raises(LeaseHeld, match="another machine"):
        lease(storage, period_s=3.0, renew_s=1.0).take()
    timer.join()


def test_a_run_whose_lease_was_taken_stops(tmp_path):
    storage = LocalStorage(tmp_path)
    mine = lease(storage, period_s=1.0, renew_s=0.05)
    mine.take()
    storage.put(LEASE, b'{"epoch": 9}')
    mine._thread.join(timeout=5)
    with pytest.raises(RunError, match="was lost"):
        mine.check()
    mine.release()
    assert storage.read(LEASE) == b'{"epoch": 9}'


def test_process_birth_tells_processes_apart():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_birth(child.pid)
    assert process_birth(child.pid) != process_birth(os.getpid())
    child.communicate(b"\n")
    assert process_birth(child.pid) == ""
