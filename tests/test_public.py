"""The public surface, listed; pages, notebooks and jobs name nothing else."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import curate

ROOT = Path(__file__).resolve().parent.parent

PUBLIC = {
    "curate": ["CurateError", "Progress", "Recipe", "Run", "__version__", "open", "remove", "run"],
    "curate.cli": ["main"],
    "curate.torch": ["Mixture", "SetsLoader", "ShardDataset", "ShardLoader", "merge_states", "restore"],
    "curate.warm": ["warm"],
}
"""Module → its public names. All other modules are private."""

RUN = [
    *("url", "name", "recipe", "snapshot", "has", "table", "dataset", "rows", "text"),
    *(
        "stats",
        "explain",
        "sample",
        "lookup",
        "lsh",
        "minhash",
        "duplicates",
        "neighbors",
        "search",
        "window",
        "windows",
    ),
    *("substrings", "clusters", "coherence", "compare", "report", "card", "export", "shard_places"),
    *("plot_funnel", "plot_scores", "plot_components", "plot_path", "plot_map", "plot_lengths"),
]
"""What the pages may ask of a run."""

PAGES = [
    str(path.relative_to(ROOT))
    for pattern in ("README.md", "docs/**/*.md", "notebooks/*.ipynb", "jobs/*.py")
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("module", PUBLIC)
def test_names_are_listed(module: str) -> None:
    if module == "curate.torch":
        pytest.importorskip("torch")
    loaded = importlib.import_module(module)
    assert sorted(loaded.__all__) == PUBLIC[module]
    for name in PUBLIC[module]:
        assert name == "__version__" or inspect.getdoc(getattr(loaded, name)), f"{module}.{name} says nothing of itself"


def test_a_run_can_be_asked_what_the_pages_show() -> None:
    assert [name for name in RUN if not hasattr(curate.Run, name)] == []


def test_unknown_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = curate.nothing


def test_the_package_carries_its_types() -> None:
    assert (Path(curate.__file__).parent / "py.typed").is_file()


MODULES = {path.stem for path in (ROOT / "curate").iterdir()}


def private_names(text: str) -> list[str]:
    """What a text imports or names of the package that is not public."""
    imported = re.findall(r"\bfrom (curate(?:\.\w+)*) import|^\s*import (curate(?:\.\w+)*)", text, re.MULTILINE)
    named = [name for name in re.findall(r"(?<![\w/.-])curate(?:\.\w+)+", text) if name.split(".")[1] in MODULES]
    return sorted({name for name in [*map("".join, imported), *named] if not is_public(name)})


def is_public(name: str) -> bool:
    """Whether a dotted name is a public module, one of its names, or an attribute of one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module, rest = ".".join(parts[:length]), parts[length:]
        if module in PUBLIC:
            return not rest or rest[0] in PUBLIC[module]
    return False


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_what_is_public(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith(".ipynb"):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert private_names(text) == []


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("import curate\ncurate.run(recipe).stats()", []),
        ("from curate.torch import ShardDataset; `curate.torch.merge_states`; python -m curate.warm", []),
        ("from curate.api import execute", ["curate.api"]),
        ("see `curate.planning.check.check`", ["curate.planning.check.check"]),
        ("import curate.dedup.minhash as m", ["curate.dedup.minhash"]),
        ("from curate.nowhere import x", ["curate.nowhere"]),
        ("the key `curate.window` of the file", []),
    ],
)
def test_private_names_are_found(text: str, private: list[str]) -> None:
    assert private_names(text) == private
