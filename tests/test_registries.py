"""One new entry of each family, from a module of its own, through run, verify, explain, stats, remove and report."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import curate
from curate.base.errors import RecipeError
from curate.base.registry import foreign_modules
from curate.packing.packers import PACKERS
from curate.quality.rule_sets import RULE_SETS
from curate.quality.scorers import SCORERS
from curate.reading.formats import READERS
from curate.recipe.file import from_dict, rows_of
from curate.relate.embedders import EMBEDDERS
from curate.relate.orders import ORDERS
from curate.shards.formats import FORMATS
from curate.verify.verify import verify

MODULE = '''
"""A shard format, a reader, an embedder, a rule set, an order, a packer and a scorer."""

import numpy as np

from curate.packing.packers import PACKERS, Packer
from curate.packing.measures import canonical, split
from curate.quality.rule_sets import RULE_SETS, Rule, RuleSet
from curate.quality.scorers import SCORERS, ScorerKind
from curate.reading.formats import READERS, Reader
from curate.reading.records import BatchBuilder
from curate.relate.embedders import EMBEDDERS, EmbedderKind
from curate.relate.orders import ORDERS, Order
from curate.shards.formats import FORMATS, LocalFile, ShardFormat
from curate.shards.windows import ShardWindows

FIELDS = ("size", "window", "tokens", "token_offsets", "segment_offsets", "doc_ids", "copies", "starts", "lengths")


class Arrays(ShardFormat):
    """All arrays of a shard in one file, after each other."""

    name = "arrays"
    pattern = r"shard-\\d+\\.arrays"

    def shard_files(self, windows, shard, pad):
        def write(path):
            with open(path, "wb") as file:
                for name in FIELDS:
                    np.save(file, np.asarray(getattr(windows, name)))

        return [LocalFile(f"shard-{shard:05d}", ".arrays", write)]

    def suffixes(self, is_denoised):
        return (".arrays",)

    def read(self, paths, size, token_type, pad):
        with open(paths[".arrays"], "rb") as file:
            found = {name: np.load(file) for name in FIELDS}
        yield ShardWindows(**{**found, "size": int(found["size"])})


class Stanzas(Reader):
    """Texts between lines of three dashes."""

    name = "stanzas"
    extensions = (".stanzas",)

    def read(self, file, fields, options):
        builder = BatchBuilder()
        for position, text in enumerate(file.read().split(b"\\n---\\n")):
            builder.add(position, f"stanza-{position}", text, None, len(text))
        yield builder.take()


class Letters:
    """Counts of the letters of a text."""

    dim = 26

    def encode(self, texts):
        return np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], np.float32).reshape(-1, 26)


class LettersKind(EmbedderKind):
    name = "letters"

    def settings(self, section):
        return {"model": self.name, "version": 1}

    def encoder(self, how, local_path):
        return Letters()


def shouting(texts):
    return {"calm_capitals": np.array([sum(c.isupper() for c in text.as_py()) / len(text.as_py()) for text in texts])}


class Alone(Packer):
    """Every piece in a window of its own."""

    name = "alone"

    def pack(self, problem):
        item, start, length = split(problem.lengths, problem.window)
        return canonical(np.arange(len(item)), len(item), item, start, length)


class Share:
    def score(self, texts):
        return np.array([round(text.as_py().count("e") / len(text.as_py()), 4) for text in texts])


class Vowels(ScorerKind):
    name = "vowels"
    suffixes = (".vowels",)

    def open(self, path, label):
        return Share()


FORMATS.register(Arrays())
READERS.register(Stanzas())
EMBEDDERS.register(LettersKind())
RULE_SETS.register(
    RuleSet("calm", (Rule("shouts", "calm_capitals", ">", "max_capitals", 0.3),), measure=shouting)
)
ORDERS.register(Order("backwards", lambda region: np.arange(len(region.doc_ids))[::-1].copy()))
PACKERS.register(Alone())
SCORERS.register(Vowels())
'''

ADDED = {
    FORMATS: "arrays",
    READERS: "stanzas",
    EMBEDDERS: "letters",
    RULE_SETS: "calm",
    ORDERS: "backwards",
    PACKERS: "alone",
    SCORERS: "vowels",
}


@pytest.fixture
def added(tmp_path, monkeypatch):
    (tmp_path / "my_entries.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("my_entries")
    yield
    del sys.modules["my_entries"]
    for registry, name in ADDED.items():
        registry.unregister(name)


def recipe(folder: Path) -> dict[str, object]:
    rng = np.random.default_rng(3)
    words = "river stone garden violin harbour bread winter candle meadow thunder".split()
    texts = [" ".join(rng.choice(words, 60)) + f" number {i}." for i in range(30)]
    texts[4], texts[9] = texts[4].upper(), "xyz " * 60
    folder.mkdir()
    (folder / "texts.stanzas").write_text("\n---\n".join(texts))
    (folder / "any.vowels").write_text("")
    return {
        "workspace": str(folder / "run"),
        "engine": "inline",
        "inputs": [{"source": "poems", "path": str(folder / "texts.stanzas")}],
        "quality": {
            "rules": ["calm"],
            "language_model": "off",
            "classifier": {"model": str(folder / "any.vowels"), "min_score": 0.01},
        },
        "dedup": "off",
        "tokenizer": {"train": {"vocab_size": 300}},
        "embed": {"model": "letters"},
        "order": {"method": "backwards", "max_similarity": 1.0, "neighbors": 5},
        "pack": {"window": 512, "method": "alone"},
        "shards": {"formats": ["arrays", "parquet"], "path": str(folder / "out")},
    }


def test_one_of_each_goes_through_everything(added, tmp_path):
    assert foreign_modules() == ("my_entries",)
    run = curate.run(recipe(tmp_path / "poems"))
    url = str(tmp_path / "poems" / "run")
    assert not verify(url).faults

    removed = run.table("verdicts").collect().filter(~run.table("verdicts").collect()["removed_by"].is_null())
    assert removed["removed_by"].to_list() == ["calm.shouts", "classifier.quality"]
    [shouted] = run.explain("stanza-4")
    assert "capitals = " in str(shouted)
    assert "above 0.3" in str(shouted)
    assert run.stats()["shards"]["formats"] == ["parquet", "arrays"]
    details = run.snapshots["embeddings"].details
    assert (details["embedder"]["kind"], details["dim"]) == ("letters", 26)
    order = run.table("order").collect().sort("position")["doc_id"].to_list()
    assert order == sorted(order, reverse=True)
    assert "calm.shouts" in run.report(tmp_path / "report.html").read_text()
    mirrored = {path.name for path in (tmp_path / "poems" / "out" / "arrays").iterdir()}
    assert mirrored == {"shard-00000.arrays"}

    assert curate.remove(url, ids=["stanza-7"], by="me", reason="asked", apply=True).done
    assert not verify(url).faults
    assert "stanza-7" not in curate.open(url).table("documents").collect()["id"].to_list()


def test_a_fault_in_a_new_format_is_found(added, tmp_path):
    curate.run(recipe(tmp_path / "poems"))
    [shard] = (tmp_path / "poems" / "run").rglob("*.arrays")
    whole = bytearray(shard.read_bytes())
    place = whole.index(b"NUMPY", 400) + 300
    whole[place] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(whole)
    assert any("arrays" in str(fault) for fault in verify(str(tmp_path / "poems" / "run")).faults)


def test_choices_and_errors_name_what_is_registered(added, tmp_path):
    types = {row[0]: row[1] for row in rows_of("order")}
    assert types["order.method"].endswith(" | random | backwards")
    assert "'arrays'" in {row[0]: row[1] for row in rows_of("shards")}["shards.formats"]
    wrong = {"inputs": [{"source": "a", "path": "a.stanzas"}], "pack": {"method": "alon"}}
    with pytest.raises(
        RecipeError, match=r"must be one of 'related', 'best_fit', 'concat', 'buckets' or 'alone'; did you"
    ):
        from_dict(wrong, tmp_path)


def test_what_is_not_registered_is_refused(tmp_path):
    wrong = {"inputs": [{"source": "a", "path": "a.jsonl"}], "shards": {"formats": ["arrays"]}}
    with pytest.raises(RecipeError, match=r"`shards.formats.0` is 'arrays', but must be one of 'parquet', 'mds'"):
        from_dict(wrong, tmp_path)
    assert json.dumps(from_dict({**wrong, "shards": {}}, tmp_path).shards.formats) == '["parquet"]'
