"""A Ray cluster on this machine, for rehearsals: a head without processors, workers, each as processes of their own, and S3.

    python infra/local_cluster.py [--workers 2]

prints the variables with which `curate submit` and `curate run` find them, and ends with Ctrl-C. As on a real cluster,
the token is asked for and the dashboard listens on loopback alone. Needs the extra `cluster` and moto[server].
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_S = 120
NODE = "CURATE_REHEARSAL_NODE"
"""Environment variable by which the processes of a node are known."""


@dataclass
class LocalCluster:
    """The running cluster: where jobs are submitted, and the processes of its nodes."""

    jobs_address: str
    token: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for those who submit."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def lose_worker(self) -> None:
        """The last worker node goes with all its processes, without a word."""
        number = len(self.workers) - 1
        _kill_node(f"worker-{number}", self.token)
        self.workers.pop().wait()


@contextmanager
def local_cluster(workers: int = 2, environment: dict[str, str] | None = None) -> Iterator[LocalCluster]:
    """A head without processors, on which drivers run, and worker nodes with two processors each.

    ``environment`` is what a real node would have: an instance role, an endpoint.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: paths of sockets are limited
    token, port, dashboard = secrets.token_hex(32), _free_port(), _free_port()
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": str(START_S)}
    # As in the image of a node: `python` is the one that has curate, whatever the shell that starts this has activated.
    env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    env |= {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")}
    env |= {**(environment or {}), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    ray = str(Path(sys.executable).parent / "ray")
    small = ["--object-store-memory", str(100 << 20), "--block", "--disable-usage-stats"]
    head = [
        *(ray, "start", "--head", "--num-cpus", "0", "--node-ip-address", "127.0.0.1", "--port", str(port)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard), *small),
    ]
    nodes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], name: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            # A folder of its own, as on a machine of its own; the default port may be another Ray's.
            own = ["--temp-dir", str(folder / name), "--dashboard-agent-listen-port", str(_free_port())]
            environ = {**env, NODE: name, "RAY_TMPDIR": str(folder / name)}
            node = subprocess.Popen([*command, *own], env=environ, stdout=log, stderr=log, start_new_session=True)
        nodes.append(node)
        return node

    cluster = LocalCluster(f"http://127.0.0.1:{dashboard}", token)
    try:
        _wait_for_node(start(head, "head"), folder / "head.log")
        _wait_for(f"{cluster.jobs_address}/api/version", token)
        joining = [ray, "start", "--address", f"127.0.0.1:{port}", "--node-ip-address", "127.0.0.1", "--num-cpus", "2"]
        for number in range(workers):  # one after the other: they look for free ports
            cluster.workers.append(start([*joining, *small], f"worker-{number}"))
            _wait_for_node(cluster.workers[-1], folder / f"worker-{number}.log")
        yield cluster
    finally:
        for name in ("head", *(f"worker-{number}" for number in range(workers))):
            _kill_node(name, token)
        for node in nodes:
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _kill_node(name: str, token: str) -> None:
    """``kill -9`` every process of a node, drivers and tasks too: what a machine that loses power does."""
    marks = {f"{NODE}={name}".encode(), f"RAY_AUTH_TOKEN={token}".encode()}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if marks <= set((place / "environ").read_bytes().split(b"\0")):
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, token: str) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            urllib.request.urlopen(request, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise SystemExit(f"the head did not start within {START_S} s; is ray[default] installed?") from None
            time.sleep(0.3)


def _wait_for_node(node: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while b"Ray runtime started" not in log.read_bytes():
        if node.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"a node did not start:\n{log.read_text()[-1000:]}")
        time.sleep(0.3)


def main() -> None:
    """Start everything and wait for Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # end by an exception, so that no node outlives this
        signal.signal(number, lambda *_: sys.exit(0))
    sys.path.insert(0, str(ROOT))
    from tests.s3_server import s3_server

    with s3_server() as s3, local_cluster(options.workers, s3.environment) as cluster:
        bucket = s3.new_bucket()
        for name, value in {**s3.environment, **cluster.environment}.items():
            print(f"export {name}={value}")
        print(
            f"# workspace: s3://{bucket}/run\n# curate submit RECIPE --address {cluster.jobs_address} --wait",
            flush=True,
        )
        signal.pause()


if __name__ == "__main__":
    main()
