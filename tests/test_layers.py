"""The house: which package may import which, no circles, and that files and functions stay small.

Every import counts: at the top, inside a function, under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "curate"
ALGORITHMS = ("tokens", "quality", "dedup", "relate", "mixing", "packing", "shards", "reading")
"""In this order: each may import those before it."""

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "base": (),
    **{name: ("base", *ALGORITHMS[:place]) for place, name in enumerate(ALGORITHMS)},
    "recipe": ("base", *ALGORITHMS),
    "storage": ("base",),
    "tables": ("base", "storage"),
    "engine": ("base", "storage", "tables", "recipe", "reading"),
}
MAY_IMPORT["stages"] = (*MAY_IMPORT["engine"], *ALGORITHMS, "engine")
MAY_IMPORT["driver"] = (*MAY_IMPORT["stages"], "stages")
MAY_IMPORT["inspect"] = ("base", "storage", "tables", "recipe", *ALGORITHMS)
MAY_IMPORT["verify"] = (*MAY_IMPORT["driver"], "driver", "inspect")
MAY_IMPORT["planning"] = MAY_IMPORT["tools"] = MAY_IMPORT["verify"]
MAY_IMPORT["report"] = (*MAY_IMPORT["verify"], "verify", "planning", "tools")

LIBRARY = tuple(MAY_IMPORT)
"""The packages. Above them lies what is public, which may import all of them and what is named here of its own kind."""
SURFACE: dict[str, tuple[str, ...]] = {
    "": ("api", "finished_run"),
    "__main__": ("cli",),
    "api": ("finished_run",),
    "finished_run": (),
    "torch": (),
    "warm": (),
    "cli": ("api", "finished_run"),
}

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 70


def name_of(path: Path) -> str:
    """The dotted name below ``curate``; '' for the package itself."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules of the package that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "curate":
                found.add(rest if rest in FILES else rest.rpartition(".")[0])
    return frozenset(found)


def layer(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("package", [*LIBRARY, *SURFACE])
def test_imports_run_down(package: str) -> None:
    allowed = MAY_IMPORT.get(package) or (*LIBRARY, *SURFACE.get(package, ()))
    if package == "base":
        allowed = ()
    modules = [module for module in FILES if layer(module) == package]
    assert modules, f"there is no package {package}"
    wrong = [
        f"{module} imports {other}"
        for module in modules
        for other in sorted(imports_of(module))
        if layer(other) not in (package, *allowed)
    ]
    assert wrong == []


def test_every_module_has_a_layer() -> None:
    assert {layer(module) for module in FILES} == {*LIBRARY, *SURFACE}


def test_no_imports_in_a_circle() -> None:
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(imports_of(module) - {module}):
                walk(other, (*path, module))
            done.add(module)

    for module in FILES:
        walk(module, ())


@pytest.mark.parametrize("module", FILES)
def test_files_and_functions_are_small(module: str) -> None:
    text = FILES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def imported(statement: str) -> set[str]:
    """Top-level names and curate modules that are loaded after ``statement``."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.split())


def test_algorithms_load_neither_ray_nor_storage() -> None:
    modules = [f"curate.{module}" for module in FILES if layer(module) in ALGORITHMS and "." in module]
    assert len(modules) > 40
    loaded = imported("import " + ", ".join(modules))
    assert not loaded & {"ray", "boto3"}
    assert not {name for name in loaded if name.startswith(("curate.storage", "curate.engine"))}


@pytest.mark.parametrize("module", ["curate", "curate.cli"])
def test_the_surface_is_light(module: str) -> None:
    loaded = imported(f"import {module}")
    assert not loaded & {"ray", "numba", "polars", "pyarrow", "numpy", "pandas", "boto3"}


def test_workers_do_not_load_what_they_do_not_need() -> None:
    loaded = imported("import curate.engine.context, curate.driver.plan; curate.driver.plan.stages()")
    assert not loaded & {"polars", "rich"}
