"""Documents that deduplication is known to go wrong on, through the whole program."""

from __future__ import annotations

import json

import numpy as np
import pytest

import curate
from tests.corpus import documents
from tests.dedup.plain import normalized_words

SCRIPTS = {
    "arabic": "أبجد هوز حطي كلمن سعفص قرشت ثخذ ضظغ",
    "thai": "ภาษาไทยเป็นภาษาที่เขียนโดยไม่เว้นวรรค",
    "han": "人人生而自由在尊严和权利上一律平等",
    "hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता",
    "amharic": "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው",
}


def recipe(folder, **dedup):
    return {
        "workspace": str(folder / "ws"),
        "engine": "inline",
        "inputs": [{"source": "web", "path": str(folder / "in.jsonl")}],
        "quality": "off",
        "dedup": dedup,
    }


def write(folder, texts: dict[str, str]):
    lines = [json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()]
    (folder / "in.jsonl").write_text("".join(lines))


def removed(run) -> dict[str, str]:
    """{id: id of its keeper}."""
    ids = dict(run.table("documents").select("doc_id", "id").collect().iter_rows())
    rows = run.table("duplicates").select("doc_id", "keeper").collect().iter_rows()
    return {ids[doc_id]: ids[keeper] for doc_id, keeper in rows}


def test_unrelated_long_books_lose_nothing(tmp_path):
    """300,000 words each of one small vocabulary: many shared shingles by chance, none of it a copy."""
    rng = np.random.default_rng(3)
    words = np.array([f"w{i}" for i in range(400)])
    chance = 1 / np.arange(1, 401)
    books = {f"book-{i}": " ".join(rng.choice(words, 300_000, p=chance / chance.sum())) for i in range(6)}
    write(tmp_path, books)
    run = curate.run(recipe(tmp_path, near={"ngram": 3}), until="dedup")
    assert removed(run) == {}


def test_templated_pages_with_distinct_bodies_survive_and_copies_do_not(tmp_path):
    frame = documents(4)[3]["text"].split()[:300]
    rng = np.random.default_rng(4)
    pages = {}
    for i in range(60):
        body = [f"x{value}" for value in rng.integers(0, 10**6, 120)]
        pages[f"page-{i}"] = " ".join([*frame[:150], *body, *frame[150:]])
    pages["copy"] = pages["page-7"] + " updated today"
    write(tmp_path, pages)
    run = curate.run(recipe(tmp_path), until="dedup")
    assert removed(run) == {"page-7": "copy"}  # the longer one is kept


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    rng = np.random.default_rng(5)
    texts = {one["id"]: one["text"] for one in documents(30)}
    texts |= {"empty": "", "spaces": " \n\t ", "no-words": "!!! ??? …", "word": "harbour", "word-again": " Harbour.\n"}
    texts["other-word"] = "lighthouse"
    texts["huge"] = " ".join(rng.choice(sorted(set(" ".join(texts.values()).split())), 1_700_000))
    assert len(texts["huge"]) > 10**7 - 10**6
    for name, text in SCRIPTS.items():
        texts[name] = text
        texts[f"{name}-again"] = text + " !"
    write(folder, texts)
    small = {
        "tokenizer": {"train": {"vocab_size": 400, "sample_bytes": 100_000}},
        "embed": {"dim": 16},
        "cluster": {"cell_size": 20},
    }
    run = curate.run({**recipe(folder), **small})
    rows = run.table("ledger").select("id", "status", "stage", "reason", "keeper").collect().to_dicts()
    return {row["id"]: row for row in rows}, texts


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("no-words", "kept", None),
        ("other-word", "kept", None),
        ("word-again", "kept", None),
        ("word", "removed", "exact"),
        ("huge", "kept", None),
        *((f"{name}-again", "kept", None) for name in SCRIPTS),
        *((name, "removed", "exact") for name in SCRIPTS),
    ],
)
def test_odd_documents_end_in_the_ledger_with_the_right_reason(ledger, name, status, reason):
    row = ledger[0][name]
    assert (row["status"], row["reason"]) == (status, reason)


def test_texts_of_nothing_are_rejected_and_nothing_is_lost(ledger):
    rows, texts = ledger
    assert len(rows) == len(texts)
    gone = [row for row in rows.values() if row["status"] == "rejected"]
    assert sorted(row["reason"] for row in gone) == ["empty_text", "empty_text"]
    assert all(list(normalized_words(texts[name])) for name in SCRIPTS)
