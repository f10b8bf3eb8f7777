"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# A first call compiles or reads a kernel, and the machine may be busy: time decides nothing here.
settings.register_profile("curate", deadline=None)
settings.load_profile("curate")

# Private to the tests: no token file in the home folder, no dashboard, one thread in a task.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
