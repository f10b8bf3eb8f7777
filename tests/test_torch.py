"""The reader without PyTorch; with it, it is tested in ``tests/consumers``."""

from __future__ import annotations

import subprocess
import sys


def test_without_torch_the_remedy_is_named():
    code = "import sys; sys.modules['torch'] = None; import curate.torch"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.endswith("curate.torch needs PyTorch; install it, or this project with the extra `torch`\n")
