"""``python -m curate`` is ``curate``."""

import sys

from curate.cli import main

sys.exit(main())
