"""The generated pages docs/recipe.md and docs/tables.md: `python -m tests.reference_docs` writes them."""

from __future__ import annotations

from pathlib import Path

from curate.base.catalog import TABLES
from curate.recipe.file import field_rows

DOCS = Path(__file__).parent.parent / "docs"

EXAMPLE = {"minhash": {"bands": 14, "rows": 8}, "vocab_size": 32_000, "dim": 256, "neighbors": 20}
"""Details of snapshots that decide types: those of the defaults."""


def recipe_page() -> str:
    """docs/recipe.md."""
    lines = [
        "# Recipe reference",
        "",
        "Every field, its type, its default and its meaning, as `curate schema` prints them. Only `inputs` is required. "
        "Made from the models in `curate/recipe/` by `python -m tests.reference_docs`.",
    ]
    top: list[tuple[str, str, str, str]] = []
    sections: dict[str, tuple[str, list[tuple[str, str, str, str]]]] = {}
    for row in field_rows():
        name, kind = row[0], row[1]
        head = name.replace("[]", "").partition(".")[0]
        if "." not in name and kind in ("section", "list"):
            sections[head] = (row[3], [])
        elif "." not in name:
            top.append(row)
        else:
            sections[head][1].append(row)
    for name, (meaning, rows) in {"": ("", top), **sections}.items():
        lines += ["", f"## {name or 'The run'}", "", *([f"{meaning[0].upper()}{meaning[1:]}.", ""] if meaning else [])]
        lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(_cell(i, cell) for i, cell in enumerate(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(column: int, value: str) -> str:
    text = value.replace("|", "\\|")
    return f"`{text}`" if column in (0, 2) and text else text


def tables_page() -> str:
    """docs/tables.md."""
    lines = [
        "# Tables reference",
        "",
        "The tables of a workspace: Parquet files, read by `run.table(name)`. Per-document tables have one file for each "
        "partition of `documents`, in `doc_id` order. `signals` has a column for each statistic and classifier "
        "([quality.md](quality.md)). Made from `curate/base/catalog.py` by `python -m tests.reference_docs`.",
    ]
    for table in TABLES.values():
        schema = table.schema(EXAMPLE)
        if schema is None:
            continue
        stage = f"Written by `{table.stage}`." if table.stage else "Of the workspace: every run carries it on."
        sorted_by = ", ".join(f"`{name}`" for name in table.order)
        lines += ["", f"## {table.name}", "", f"One row for each {table.row}. {stage} Sorted by {sorted_by}.", ""]
        lines += ["| column | type |", "|---|---|"]
        lines += [f"| `{field.name}` | {field.type} |" for field in schema]
    return "\n".join(lines) + "\n"


PAGES = {"recipe.md": recipe_page, "tables.md": tables_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make(), encoding="utf-8")
