"""A small generated corpus with everything in it: topics, exact and near duplicates, short and long texts, bad records."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.shards.formats import FORMATS

TOPICS = {
    "sea": "ship harbour sail captain storm anchor wave tide coast island sailor deck mast cargo voyage lighthouse".split(),
    "garden": "flower soil seed water bloom garden spade root leaf compost tree hedge orchard beetle pruning greenhouse".split(),
    "music": "violin concert melody rhythm singer chorus piano tempo harmony orchestra composer drum string audience opera".split(),
    "kitchen": "bread butter oven recipe flour sugar knife boil simmer onion garlic pepper roast kettle pastry supper".split(),
}
GLUE = "the and of to that with have be in on for from under over between after before while because without".split()
VERBS = "finds carries follows leaves watches builds gathers turns keeps brings holds opens remembers describes".split()


def sentence(rng: random.Random, topic: str) -> str:
    """One sentence of glue words and words of the topic."""
    words = []
    for _ in range(rng.randint(8, 18)):
        words.append(rng.choice(rng.choice([GLUE, GLUE, TOPICS[topic], VERBS])))
    return " ".join(words).capitalize() + "."


def text(rng: random.Random, topic: str, sentences: int) -> str:
    """Paragraphs of sentences on one topic."""
    lines = [sentence(rng, topic) for _ in range(sentences)]
    return "\n\n".join(" ".join(lines[i : i + 5]) for i in range(0, len(lines), 5))


def edited(rng: random.Random, body: str, share: float) -> str:
    """A copy of a text in which a share of the words are others: no near duplicate of it, but the same text to a reader."""
    words = body.split(" ")
    for i in rng.sample(range(len(words)), round(share * len(words))):
        words[i] = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 8)))
    return " ".join(words)


def documents(count: int = 240, seed: int = 0) -> list[dict[str, str]]:
    """Documents of four topics: every tenth is long, every eighth an exact and every ninth a near copy of another."""
    rng = random.Random(seed)
    found: list[dict[str, str]] = []
    for i in range(count):
        topic = sorted(TOPICS)[i % 4]
        if i > 20 and i % 8 == 0:
            body = found[i - 13]["text"].replace(".", " !!")
        elif i > 20 and i % 9 == 0:
            body = found[i - 11]["text"] + " " + sentence(rng, topic)
        elif i % 30 == 29:
            body = "too short"
        else:
            body = text(rng, topic, 120 if i % 10 == 3 else rng.randint(8, 30))
        found.append({"id": f"doc-{i}", "text": body, "topic": topic})
    return found


def write_corpus(folder: Path, count: int = 240, seed: int = 0) -> Path:
    """Write the corpus in several formats, with bad records among it; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    docs = documents(count, seed)
    third = len(docs) // 3
    lines = [json.dumps(doc) for doc in docs]
    bad = ['{"text": null}', '{"text": ""}', "{broken", '{"text": 7}', '{"other": "field"}', '["a list"]']
    with zstandard.open(folder / "a.jsonl.zst", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[:third]) + "\n")
    with gzip.open(folder / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[third : 2 * third - 10] + bad) + "\n")
    (folder / "c.jsonl").write_bytes(
        "\n".join(lines[2 * third - 10 : 2 * third]).encode() + b'\n{"text": "caf\xe9 in latin-1"}\n'
    )
    pq.write_table(pa.Table.from_pylist(docs[2 * third :]), folder / "d.parquet")
    rng = random.Random(seed + 1)
    (folder / "notes").mkdir(exist_ok=True)
    for number in range(3):
        (folder / "notes" / f"{number}.txt").write_text(text(rng, "sea", 15), encoding="utf-8")
    (folder / "notes" / "empty.md").write_text(" \n")
    whole = gzip.compress("\n".join(json.dumps({"text": text(rng, "music", 20)}) for _ in range(40)).encode())
    (folder / "truncated.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    return folder


def recipe_of(folder: Path, workspace: Path | str, **sections: object) -> dict[str, object]:
    """A recipe over :func:`write_corpus` in which every stage has something to do."""
    return {
        "name": "test",
        "workspace": str(workspace),
        "engine": "inline",
        "inputs": [
            {"source": "web", "path": f"{folder}/*.jsonl*"},
            {"source": "table", "path": f"{folder}/*.parquet"},
            {"source": "notes", "path": f"{folder}/notes"},
        ],
        "ingest": {"partition_bytes": 60_000},
        "quality": {"rules": ["gopher_repetition", "gopher_quality"]},
        "tokenizer": {"train": {"vocab_size": 600, "sample_bytes": 200_000}},
        "dedup": {"semantic": {"threshold": 0.995}},  # with a hundred words, documents of a topic are much alike
        "embed": {"dim": 32},
        "cluster": {"cell_size": 20, "region_size": 90},
        "upsample": {"method": "per_source", "long_tokens": 1_500, "long_share": 0.6, "max_copies": 3},
        "pack": {"window": 1024},
        "shards": {"formats": list(FORMATS), "windows_per_shard": 60},
        **sections,
    }
