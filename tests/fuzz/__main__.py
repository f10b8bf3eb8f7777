"""Fuzz what reads anybody's text: `python -m tests.fuzz [TARGET …] [--minutes N]` (needs atheris; `python3 tasks.py fuzz`).

Each target runs in a process of its own for that long, led by the branches that the instrumented Python takes: of the
plain reference of the statistics and of the readers; compiled kernels cannot be instrumented. What fails is named, and
its bytes are kept in a file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

INSTRUMENTED = [
    "tests.quality.reference",
    "curate.reading.formats.jsonl",
    "curate.reading.spans",
    "curate.reading.formats.html",
    "curate.reading.records",
    "curate.reading.formats.parquet",
    "curate.reading.parquet_footer",
    "curate.reading.parquet_pages",
    "curate.reading.parquet_rows",
    "curate.reading.formats.warc",
    "curate.reading.warc_records",
    "curate.reading.http_pages",
    "curate.reading.charsets",
    "curate.reading.streams",
    "curate.base.side_files",
]


def fuzz(target: str, options: list[str]) -> None:
    """Run one target in this process, which ends with it."""
    import atheris

    import curate.quality.signals  # noqa: F401  before: kernels are compiled from bytecode as it was

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


def main() -> int:
    """Fuzz every target that is named; the exit code is 1 when one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--alone", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone is not None:
        fuzz(options.targets[0], options.alone)
    from tests.fuzz.targets import SEEDS, TARGETS

    failed = []
    for target in options.targets or TARGETS:
        folder = Path(tempfile.mkdtemp(prefix=f"curate-fuzz-{target}-"))
        for i, seed in enumerate(SEEDS[target]):
            (folder / f"seed-{i}").write_bytes(seed)
        limits = [f"-max_total_time={int(options.minutes * 60)}", "-max_len=4000", "-rss_limit_mb=4096"]
        places = [f"-artifact_prefix={folder}/failed-", str(folder)]
        command = [sys.executable, "-m", "tests.fuzz", target, "--alone", *limits, *places]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        print(f"{target}: {done.stdout.strip().splitlines()[-1]}", flush=True)
        if done.returncode:
            failed.append(target)
            print(done.stdout[-4000:], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
