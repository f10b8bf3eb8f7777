"""What every stage makes of one small corpus, as a digest a table, pinned beside the stage's version in ``golden.json``.

``python -m tests.golden`` pins anew, but refuses where a stage's output changed and its version did not: stored
workspaces would then mix old rows with new ones. Digests are of rows, with floats rounded to 1e-3, so that neither the
file format nor the last bit of a float decides. The lexical model is not fitted here but made of hashes: results are
promised from the stored model on, and its fit uses BLAS.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.base.hashing import mix64
from curate.base.text import text_buffers
from curate.driver.execute import run_recipe
from curate.driver.plan import stages
from curate.recipe.file import from_dict
from curate.relate.embedders.lexical import LexicalModel
from curate.relate.encoders.words import word_rows
from tests.corpus import recipe_of, text, write_corpus

PINNED = Path(__file__).parent / "golden.json"

QUESTION = " ".join(f"question{i} about{i}" for i in range(12))

SAME_BYTES = (".bin", ".idx", ".npy")
"""Files of a shard set whose bytes are ours alone; others are written by libraries."""

Pins = dict[str, dict[str, Any]]
"""{table: {stage, version, rows, digest}}"""


def write_inputs(folder: Path) -> Path:
    """The corpus of the end-to-end tests, and texts with what it lacks: mail addresses, shared paragraphs, a question of
    an evaluation set, code, lists, another language.
    """
    write_corpus(folder, count=80)
    rng = random.Random(11)
    shared = text(rng, "kitchen", 10).split("\n\n")[0]
    rows = []
    for i in range(24):
        body = text(rng, "garden", 6 + i % 12) + f"\n\nWrite to me{i}@mine.org or +1 212 555 0199.\n"
        extra = ("", f"\n\n{shared}", f"\n\n{QUESTION}", "\n\nif (x) { return javascript; }", "\n- a\n- b\n- c...")[
            i % 5
        ]
        rows.append({"id": f"more-{i}", "text": body + extra, "url": f"https://site{i % 3}.org/{i}", "score": i})
    rows.append({"id": "more-de", "text": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. " * 9})
    edited = rows[15]["text"].split(" ")
    edited[3::9] = [f"{word}{i}" for i, word in enumerate(edited[3::9])]  # too far for a near duplicate
    rows.append({"id": "more-edited", "text": " ".join(edited)})
    (folder / "more").mkdir()
    (folder / "more" / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "eval").mkdir()
    (folder / "eval" / "questions.jsonl").write_text(json.dumps({"text": QUESTION}) + "\n")
    (folder / "eval" / "domains.txt").write_text("site2.org\n")
    return folder


def recipe(folder: Path, workspace: Path) -> dict[str, Any]:
    """A recipe in which every stage decides something."""
    quality = {
        "preset": "fineweb",
        "rules": ["gopher_repetition", "gopher_quality", "c4", "fineweb"],
        "thresholds": {"fineweb": {"char_duplicates_ratio": 0.2}, "c4": {"min_num_sentences": 3}},
        "pii": {"mask": ["email", "phone"]},
        "block": {"domains": str(folder / "eval" / "domains.txt")},
        "where": ["meta.score is null or meta.score != 7"],
        "languages": ["en"],
    }
    dedup = {
        "paragraphs": {"min_words": 10},
        "decontaminate": {"sets": {"mine": {"path": str(folder / "eval" / "questions.jsonl")}}, "action": "cut"},
        "semantic": {"threshold": 0.7},
    }
    synthetic = {"share": 0.1, "min_tokens": 128}
    select = {"queries": str(folder / "notes" / "0.txt"), "keep": 0.9}
    made = recipe_of(folder, workspace, quality=quality, dedup=dedup, select=select, synthetic=synthetic)
    # C4's lines leave no paragraphs, so one source goes without them.
    more = {"source": "more", "path": f"{folder}/more", "quality": {"rules": ["gopher_quality"]}}
    return {**made, "inputs": [*made["inputs"], more]}


def hashed_model(texts: pa.Array, dim: int = 32, **_: Any) -> LexicalModel:
    """A lexical model whose projection is made of the words' hashes: the same numbers on every machine."""
    hashes, frequency = word_rows(*text_buffers(texts)).frequencies()
    hashes = hashes[np.lexsort((hashes, -frequency))]
    numbers = mix64(hashes[:, None] + np.arange(dim, dtype=np.uint64)[None, :] * np.uint64(0x9E3779B97F4A7C15))
    projection = ((numbers >> np.uint64(44)).astype(np.float32) - np.float32(2**19)) / np.float32(2**19)
    return LexicalModel(hashes, np.ones(len(hashes)), projection, np.zeros(dim))


def measure() -> Pins:
    """What every stage makes now."""
    with tempfile.TemporaryDirectory() as place, patch("curate.stages.embed.fit.fit", hashed_model):
        folder = Path(place)
        made = recipe(write_inputs(folder / "text"), folder / "run")
        outcome = run_recipe(from_dict(made, folder))
        found: Pins = {}
        for stage in stages():
            for table in stage.writes:
                snapshot = outcome.tables[table]
                files = [(file.name, folder / "run" / file.path) for file in snapshot.files]
                pin = {"stage": stage.name, "version": stage.version, "rows": snapshot.rows}
                found[table] = {**pin, "digest": _digest(files)}
    return found


def _digest(files: list[tuple[str, Path]]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for name, path in files:
        if path.suffix == ".parquet":
            for row in pq.ParquetFile(path).read().to_pylist():
                state.update(json.dumps(_plain(row), sort_keys=True).encode())
        elif path.suffix in SAME_BYTES:
            state.update(path.read_bytes())
        state.update(name.encode())
    return state.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    return round(value, 3) + 0.0 if isinstance(value, float) else value


def unraised(pinned: Pins, now: Pins) -> list[str]:
    """Tables that changed though their stage's version did not, and neither did anything that it reads."""
    changed: set[str] = set()
    blamed = []
    for stage in stages():
        upstream = changed & {*stage.reads, *stage.looks_back}
        for table in stage.writes:
            if pinned.get(table, {}).get("digest") == now[table]["digest"]:
                continue
            changed.add(table)
            if not upstream and table in pinned and pinned[table]["version"] == now[table]["version"]:
                blamed.append(table)
    return blamed


def main() -> int:
    """Pin what is made now."""
    pinned, now = json.loads(PINNED.read_text()) if PINNED.exists() else {}, measure()
    blamed = unraised(pinned, now)
    if blamed:
        names = ", ".join(f"{table} (stage {now[table]['stage']}, version {now[table]['version']})" for table in blamed)
        print(f"not pinned: {names} changed; raise the `version` of these stages first", file=sys.stderr)
        return 1
    PINNED.write_text(json.dumps(now, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
