"""The environment with the trainers' own libraries, and how tests run a script in it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv-consumers"
PYTHON = VENV / "bin" / "python"


def _is_ready() -> bool:
    wanted = hashlib.blake2b((HERE / "requirements.txt").read_bytes()).hexdigest()
    return (VENV / "done").is_file() and (VENV / "done").read_text() == wanted


needs_consumers = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not _is_ready(), reason="the consumers' environment is absent or out of date: run `make consumers`"
    ),
]


def variables(*paths: Path) -> dict[str, str]:
    """Environment variables of a consumer: nothing from the network, no GPU, ``paths`` to import from."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (HERE / "torchvision_stub", *paths))),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def run_consumer(script: str, *arguments: str, paths: tuple[Path, ...] = (), timeout: int = 600) -> Any:
    """What a script in this folder prints last, as JSON."""
    command = [str(PYTHON), str(HERE / script), *arguments]
    run = subprocess.run(command, env=variables(*paths), capture_output=True, text=True, timeout=timeout, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def token_hash(tokens: np.ndarray) -> str:
    """As the scripts name a window or an array."""
    return hashlib.blake2b(np.asarray(tokens, np.int64).tobytes(), digest_size=16).hexdigest()
