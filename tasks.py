#!/usr/bin/env python3
"""The task runner: `python3 tasks.py TASK`. Needs Python 3.11 or later and nothing else; everything goes to .venv.

demo         set up, then gather the text of this Python environment, curate it, and show what was kept and why
test         set up, then run all tests
cluster      set up, then run jobs on two and three nodes over S3, of which one is lost (minutes, not part of test)
lint         ruff and mypy
check        lint and test
consumers    set up .venv-consumers, in which the shards are loaded by the trainers' own libraries
conformance  set up .venv-conformance, and compare verdicts with datatrove's filters there: [PATH …] [--megabytes N]
fuzz         set up .venv-fuzz, and fuzz what reads anybody's text: [TARGET …] [--minutes N]
faults       set up, then runs that meet a fault each, compared with an undisturbed one: [N] [--seed S] [--kinds …]
lock         write requirements.lock anew (needs uv)
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
CONSUMERS = ROOT / ".venv-consumers"
FUZZ = ROOT / ".venv-fuzz"
CONFORMANCE = ROOT / ".venv-conformance"


def bin_of(environment: Path, name: str) -> str:
    """Path of a program in a virtual environment."""
    return str(environment / ("Scripts" if os.name == "nt" else "bin") / name)


def call(*command: str, **environment: str) -> None:
    """Run a command from the project's folder; end with its exit code when it fails."""
    code = subprocess.call(command, cwd=ROOT, env={**os.environ, **environment})
    if code:
        sys.exit(code)


def setup() -> None:
    """Install the locked dependencies and the project, unless that is done already."""
    if sys.version_info < (3, 11):
        sys.exit(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}")
    mark = VENV / "curate.lock.blake2b"
    wanted = hashlib.blake2b(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return
    print("setting up .venv (once) …", flush=True)
    if not Path(bin_of(VENV, "python")).exists():
        venv.create(VENV, with_pip=True)
    python = bin_of(VENV, "python")
    quiet = ("--quiet", "--disable-pip-version-check")
    # --no-deps: the lock is complete, and leaves out on purpose one package that would overwrite another's module.
    call(python, "-m", "pip", "install", *quiet, "--no-deps", "--require-hashes", "-r", str(LOCK))
    call(python, "-m", "pip", "install", *quiet, "--no-deps", "--editable", str(ROOT))
    print("compiling kernels (once) …", flush=True)
    call(python, "-m", "curate.warm", str(os.cpu_count() or 1))
    mark.write_text(wanted)


def demo(*arguments: str) -> None:
    """Set up and run the main job on the text of this Python environment."""
    setup()
    call(bin_of(VENV, "curate"), "demo", *arguments)


def test(*arguments: str) -> None:
    """Set up and run all tests, a file at a time in each of a few processes: many tests wait for processes of their own."""
    setup()
    workers = str(min(4, os.cpu_count() or 1))
    call(bin_of(VENV, "python"), "-m", "pytest", "-n", workers, "--dist", "loadfile", *arguments)


def cluster() -> None:
    """Set up and run the tests that need clusters of several nodes."""
    setup()
    call(bin_of(VENV, "python"), "-m", "pytest", "tests/infra/test_cluster.py", CURATE_CLUSTER="1")


def lint() -> None:
    """Check style and types."""
    setup()
    call(bin_of(VENV, "ruff"), "check", ".")
    call(bin_of(VENV, "ruff"), "format", "--check", ".")
    call(bin_of(VENV, "mypy"))


def check() -> None:
    """Everything that must pass before a change lands."""
    lint()
    test()


def consumers() -> None:
    """An environment with the trainers' own loaders; torch first, so that no other package pulls a build of several GB."""
    mark = CONSUMERS / "done"
    requirements = ROOT / "tests" / "consumers" / "requirements.txt"
    wanted = hashlib.blake2b(requirements.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return
    if not Path(bin_of(CONSUMERS, "python")).exists():
        venv.create(CONSUMERS, with_pip=True)
    pip = (bin_of(CONSUMERS, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    call(*pip, "torch==2.13.0")
    call(*pip, "-r", str(requirements))
    mark.write_text(wanted)


def conformance(*arguments: str) -> None:
    """An environment with datatrove, the reference of the quality rules; then the table of agreement."""
    setup()
    requirements = ROOT / "tests" / "conformance" / "requirements.txt"
    mark = CONFORMANCE / "done"
    wanted = hashlib.blake2b(requirements.read_bytes()).hexdigest()
    if not mark.is_file() or mark.read_text() != wanted:
        if not Path(bin_of(CONFORMANCE, "python")).exists():
            venv.create(CONFORMANCE, with_pip=True)
        python = bin_of(CONFORMANCE, "python")
        call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements))
        mark.write_text(wanted)
    call(bin_of(VENV, "python"), "-m", "tests.conformance.compare", *arguments)


def fuzz(*arguments: str) -> None:
    """An environment with atheris, beside the project's own; then every target for some minutes."""
    setup()
    if not Path(bin_of(FUZZ, "python")).exists():
        venv.create(FUZZ, with_pip=True)
        call(bin_of(FUZZ, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "atheris==3.0.0")
    site = next(FUZZ.glob("lib/python*/site-packages"))
    call(bin_of(VENV, "python"), "-m", "tests.fuzz", *arguments, PYTHONPATH=str(site))


def faults(*arguments: str) -> None:
    """Set up and run trials with faults."""
    setup()
    call(bin_of(VENV, "python"), "-W", "ignore", "-m", "tests.faults", *arguments)


def lock() -> None:
    """Resolve the dependencies anew, for every platform, with hashes and without a registry's address."""
    options = ("--universal", "--generate-hashes", "--no-header", "--no-emit-package", "fasttext-predict", "--quiet")
    call("uv", "pip", "compile", "pyproject.toml", "--group", "dev", "--group", "models", *options, "-o", str(LOCK))


TASKS = {
    "demo": demo,
    "test": test,
    "cluster": cluster,
    "lint": lint,
    "check": check,
    "consumers": consumers,
    "conformance": conformance,
    "fuzz": fuzz,
    "faults": faults,
    "lock": lock,
    "setup": setup,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        sys.exit(__doc__)
    TASKS[sys.argv[1]](*sys.argv[2:])
