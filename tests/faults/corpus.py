"""The corpus of the fault runs: small, but every stage has something to do in several tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.corpus import documents, recipe_of


def write_small_corpus(folder: Path) -> Path:
    """Two files of one source; a third of the documents of the other tests."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(doc) for doc in documents(64)]
    (folder / "a.jsonl").write_text("\n".join(lines[:40]) + '\n{"text": null}\n')
    (folder / "b.jsonl").write_text("\n".join(lines[40:]) + "\n")
    return folder


def small_recipe(folder: Path | str, workspace: Path | str, **sections: Any) -> dict[str, Any]:
    """All stages, two formats, two or three tasks in a step."""
    small = {
        "inputs": [{"source": "web", "path": f"{folder}/*.jsonl"}],
        "ingest": {"partition_bytes": 80_000},
        "tokenizer": {"train": {"vocab_size": 400, "sample_bytes": 60_000}},
        "cluster": {"cell_size": 20, "region_size": 40},
        "shards": {"formats": ["parquet", "megatron"], "windows_per_shard": 16},
    }
    return recipe_of(folder, workspace, **{**small, **sections})
