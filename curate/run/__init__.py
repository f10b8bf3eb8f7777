"""From a recipe to committed tables: plan, engine, exchange, workspace, snapshots, ledger.

Importing any module of this package binds ``curate.run`` to it, in place of the function of that name; so the package
can be called like the function.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """As :func:`curate.api.run`."""
        from curate.api import run

        return run(*args, **keywords)


sys.modules[__name__].__class__ = _CallablePackage
