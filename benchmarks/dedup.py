"""Speed of the whole deduplication of real documents, first read to last write, beside datatrove, text-dedup, Data-Juicer.

    python benchmarks/dedup.py FOLDER [--documents 10000] [--bytes 4000] [--cores 1] [--peers FOLDER] [--markdown]

FOLDER holds texts (.jsonl, .jsonl.zst with `text`; .parquet; .txt; .md); they are cut at paragraph ends into passages of
at most --bytes bytes. Every system gets the same file and parameters (14 bands of 8 rows, 5-grams, threshold 0.8) and
runs on the same --cores processors, one after the other; imports, compiling and Ray's start are aside.

A peer runs in an environment of its own, `PEERS/datatrove`, `PEERS/textdedup`, `PEERS/datajuicer` (default
`.venv-peers-*` in the project's folder). `--install` makes the missing ones; without it they are named and skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from passages import passages

HERE = Path(__file__).resolve().parent
PARAMETERS = ("5", "14", "8", "0.8")
"""Shingle, bands, rows, threshold."""

PEERS = {
    "datatrove": ["datatrove[io,processing]==0.10.1", "spacy"],
    "textdedup": ["text-dedup==0.4.0"],
    "datajuicer": ["py-data-juicer==1.6.1", "aiohttp"],
}
"""Requirements of each peer's environment."""


def python_of(peer: str, folder: Path | None) -> Path:
    """The peer's Python, whether it is there or not."""
    home = folder / peer if folder else HERE.parent / f".venv-peers-{peer}"
    return home / "bin" / "python"


def install(python: Path, requirements: Sequence[str]) -> None:
    """Make an environment with ``requirements``."""
    venv.create(python.parent.parent, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)


def measure(python: Path, system: str, source: Path, out: Path, cores: int) -> dict[str, Any]:
    """What ``peers/run_<system>.py`` prints; it runs on the first ``cores`` processors.

    Raises:
        SystemExit: it failed; the end of its output is shown.
    """
    shutil.rmtree(out, ignore_errors=True)
    script = HERE / "peers" / f"run_{system}.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    mine = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        [python, script, source, out, str(cores), *PARAMETERS],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",  # progress bars are cut anywhere
        preexec_fn=lambda: os.sched_setaffinity(0, mine),
    )
    if done.returncode:
        raise SystemExit(f"{system} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def systems(options: argparse.Namespace) -> dict[str, Path]:
    """Python of every system that is there; Curate first."""
    found = {"curate": Path(sys.executable)}
    for peer, requirements in PEERS.items():
        python = python_of(peer, options.peers)
        if not python.exists() and options.install:
            install(python, requirements)
        if python.exists():
            found[peer] = python
        else:
            print(f"{peer}: no environment at {python.parent.parent} (--install makes it); skipped", file=sys.stderr)
    return found


def table(rows: Sequence[Sequence[str]], markdown: bool) -> None:
    """Print rows, the first one a heading."""
    for i, row in enumerate(rows):
        print("| " + " | ".join(row) + " |" if markdown else "".join(f"{cell:>24}" for cell in row))
        if markdown and i == 0:
            print("|" + "---|" * len(row))


def arguments() -> argparse.ArgumentParser:
    """The options that benchmarks with peers share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--peers", type=Path, metavar="PEERS", help="folder with the peers' environments")
    parser.add_argument("--install", action="store_true", help="make missing environments")
    parser.add_argument("--markdown", action="store_true")
    return parser


def main() -> None:
    """Print the table of systems and that of Curate's steps."""
    parser = arguments()
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=4_000)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="runs of Curate, before the peers and after; the median")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "texts.jsonl"
        texts = passages(options.folder, options.bytes, options.documents)
        with source.open("w", encoding="utf-8") as file:
            for i, text in enumerate(texts):
                file.write(json.dumps({"id": str(i), "text": text}, ensure_ascii=False) + "\n")
        mb = sum(len(text.encode()) for text in texts) / 1e6
        there = systems(options)

        def run(system: str) -> dict[str, Any]:
            return measure(there[system], system, source, Path(folder) / system, options.cores)

        results = {}
        own = [run("curate") for _ in range(options.repeats - options.repeats // 2)]
        for system in list(there)[1:]:
            results[system] = run(system)
            print(f"{system}: {results[system]['seconds']:.1f} s", file=sys.stderr, flush=True)
        own += [run("curate") for _ in range(options.repeats // 2)]
        ours = sorted(own, key=lambda one: float(one["seconds"]))[len(own) // 2]
    print(f"{len(texts):,} documents, {mb:.1f} MB, {options.cores} core{'s' if options.cores > 1 else ''}\n")
    one_core = options.cores == 1  # the processor time of Ray's workers is not seen
    rows = [("system", "seconds", "documents/s", "kept", "Curate is faster by", "CPU seconds", "by CPU")]
    for system, found in {"curate": ours, **results}.items():
        speed = f"{len(texts) / found['seconds']:,.0f}"
        ratio = f"{found['seconds'] / ours['seconds']:.0f}" if system != "curate" else ""
        cpu = f"{found['cpu']:.1f}" if one_core else ""
        by_cpu = f"{found['cpu'] / ours['cpu']:.0f}" if one_core and ratio else ""
        rows.append((system, f"{found['seconds']:.1f}", speed, f"{found['kept']:,}", ratio, cpu, by_cpu))
    table(rows, options.markdown)
    print()
    shares = [("step", "seconds", "share of the wall time")]
    for system, found in {"": ours, **results}.items():
        for step, seconds in found.get("steps", {}).items():
            name = f"{system}: {step}" if system else step
            shares.append((name, f"{seconds:.2f}", f"{seconds / found['seconds']:.1%}"))
    table(shares, options.markdown)


if __name__ == "__main__":
    main()
