"""The versions that a run was made with: part of what is needed to make it again."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"

PACKAGES = (
    "ray",
    "pyarrow",
    "numpy",
    "numba",
    "scipy",
    "polars",
    "tokenizers",
    "tiktoken",
    "datasketch",
    "resiliparse",
)


def versions() -> dict[str, str]:
    """Version by name: this package, Python, and the packages that bytes may depend on; those that are not there are left out."""
    found = {"curate": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
