"""Throughput to S3 through Curate's storage and through plain pyarrow, in turns, against the same endpoint.

    python benchmarks/s3_throughput.py [--megabytes 64] [--rounds 3] [--url s3://bucket/prefix]

Files of a workspace are read knowing their size, inputs as pyarrow does. Without --url the endpoint is moto in a process
of its own: slow, so what is shown is the ratio, not what S3 can do. The best of the rounds counts on both sides.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from curate.storage.s3 import S3Storage


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Write and read one file both ways; print MB/s and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.url is None:
            from tests.s3_server import s3_server

            server = stack.enter_context(s3_server())
            os.environ.update(server.environment)
            options.url = f"s3://{server.new_bucket()}/speed"
        storage = S3Storage(options.url)
        plain, place = storage.filesystem, f"{storage.bucket}/{storage.prefix}/plain"
        size = options.megabytes << 20
        source = storage.scratch() / "speed"
        source.write_bytes(os.urandom(1 << 20) * options.megabytes)
        local = storage.scratch() / "speed-copy"

        def write_plain() -> None:
            with source.open("rb") as file, plain.open_output_stream(place) as out:
                shutil.copyfileobj(file, out, 8 << 20)

        def read(file: object) -> None:
            with file as opened:
                while opened.read(8 << 20):
                    pass

        work: dict[str, tuple[Callable[[], None], Callable[[], object]]] = {
            "write, pyarrow": (lambda: None, write_plain),
            "write, curate": (lambda: Path(shutil.copy(source, local)), lambda: storage.move_in(local, "ours")),
            "read, pyarrow": (lambda: None, lambda: read(plain.open_input_file(place))),
            "read, curate": (lambda: None, lambda: read(storage.open("ours", size))),
            "read, input": (lambda: None, lambda: read(storage.open("ours"))),
        }
        best = dict.fromkeys(work, float("inf"))
        for _ in range(options.rounds):
            for name, (prepare, act) in work.items():
                prepare()
                best[name] = min(best[name], seconds(act))
        for name, took in best.items():
            print(f"{name:16} {size / 1e6 / took:8.1f} MB/s")
        for way in ("write, curate", "read, curate", "read, input"):
            plainly = best[f"{way.partition(',')[0]}, pyarrow"]
            print(f"{way}: {plainly / best[way]:.0%} of pyarrow")
        source.unlink()
        storage.delete_tree("")


if __name__ == "__main__":
    main()
