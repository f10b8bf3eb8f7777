"""What all tests share."""

from __future__ import annotations

import os

# Private to the tests: no token file in the home folder, no dashboard, one thread in a task.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
