"""The generated pages docs/recipe.md and docs/tables.md: `python -m tests.reference_docs` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from curate.base import schemas
from curate.recipe.file import field_rows

DOCS = Path(__file__).parent.parent / "docs"

TABLES: dict[str, tuple[str, pa.Schema]] = {
    "documents": ("accepted input record", schemas.DOCUMENTS),
    "rejects": ("record that could not be read", schemas.REJECTS),
    "verdicts": (
        "document: the first rule that removes it, null where it is kept, and the measured value",
        schemas.VERDICTS,
    ),
    "edits": ("span cut from a text, or masked (`replacement`)", schemas.EDITS),
    "contamination": ("run of words that an evaluation item has too", schemas.CONTAMINATION),
    "signatures": ("document that no rule removed (112 permutations)", schemas.signatures_schema(112)),
    "shingles": ("document that shares a bucket with another", schemas.SHINGLES),
    "duplicates": ("removed exact or near duplicate", schemas.DUPLICATES),
    "paragraph_hashes": ("paragraph", schemas.PARAGRAPH_HASHES),
    "paragraphs": ("duplicate paragraph", schemas.PARAGRAPHS),
    "tokens": ("document left after deduplication (vocabulary up to 65,536)", schemas.tokens_schema(32_000)),
    "embeddings": ("document left after deduplication (256 dimensions)", schemas.embeddings_schema(256)),
    "clusters": ("document left after deduplication", schemas.CLUSTERS),
    "semantic": ("removed semantic duplicate", schemas.SEMANTIC),
    "order": ("document on the path", schemas.ORDER),
    "neighbors": ("document on the path (20 neighbours)", schemas.neighbors_schema(20)),
    "copies": ("document on the path", schemas.COPIES),
    "selection": (
        "document compared with the examples that `select` names, and whether it is near enough",
        schemas.SELECTION,
    ),
    "synthetic": ("synthetic example", schemas.synthetic_schema(32_000)),
    "windows": ("piece of a context window, by set, shard, window and piece", schemas.WINDOWS),
    "ledger": ("input record, rejects included", schemas.LEDGER),
    "removed": ("document that was taken down", schemas.REMOVED),
    "audit": ("request for takedown", schemas.AUDIT),
}
"""What a row of each table is, and its columns. `signals` has a column for each statistic (docs/quality.md)."""


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
        "([quality.md](quality.md)). Made from `curate/base/schemas.py` by `python -m tests.reference_docs`.",
    ]
    for name, (row, schema) in TABLES.items():
        lines += ["", f"## {name}", "", f"One row for each {row}.", "", "| column | type |", "|---|---|"]
        lines += [f"| `{field.name}` | {field.type} |" for field in schema]
    return "\n".join(lines) + "\n"


PAGES = {"recipe.md": recipe_page, "tables.md": tables_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make(), encoding="utf-8")
