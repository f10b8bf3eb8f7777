"""The quality stage as it runs: verdicts follow from the signals alone, and changed limits read no text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import curate
from curate.base import schemas
from curate.base.errors import RequestError
from curate.driver.execute import run_recipe
from curate.finished_run import Run
from curate.quality.verdicts import verdicts
from curate.recipe import Quality
from curate.recipe.file import from_dict
from curate.stages.quality import Measures, SignalsTask, SizesTask, SourceWords, VerdictsTask, line_rules
from tests.corpus import documents
from tests.stages.alone import PART, Workspace

ADDRESS = "Write to ann.lee@mail.example.org or call 10.0.0.1 from 8.8.8.8."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    lines = []
    for i, record in enumerate(documents(60)):
        text = record["text"] + f"\n{ADDRESS}\nMenu\n" * (i % 3 == 0)
        lines.append(json.dumps({**record, "text": text, "score": i % 5, "url": f"http://site{i % 4}.example/{i}"}))
    (folder / "web.jsonl").write_text("\n".join(lines))
    return folder


def small_documents(*texts: str, source: str = "web", meta: str | None = None) -> pa.Table:
    rows = [
        {"doc_id": i, "id": f"d{i}", "source": source, "text": text, "meta": meta} for i, text in enumerate(texts, 1)
    ]
    return pa.Table.from_pylist(rows, schemas.DOCUMENTS)


def test_signals_and_edits_of_a_partition(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    text = "This line is a sentence of some words.\nMenu\nWrite to ann.lee@mail.example.org now, it says."
    section = Quality.model_validate({"preset": "fineweb"})
    measures = Measures(None, {}, {"web": line_rules(section)}, {"web": {"email": ["X"]}}, {}, {})
    task = SignalsTask(name=PART, documents=workspace.write("documents", small_documents(text, "")), measures=measures)
    record = workspace.drive(task)
    signals, edits = workspace.written(record, "signals"), workspace.written(record, "edits")
    assert signals["n_bytes"].to_pylist() == [len(text), 0]
    assert signals["pii_email"].to_pylist() == [1, 0]
    assert signals["language"].to_pylist() == ["und", "und"]
    cut = [(text[row["start"] : row["end"]].strip(), row["reason"], row["replacement"]) for row in edits.to_pylist()]
    assert ("Menu", "c4.too_few_words", None) in cut
    assert ("ann.lee@mail.example.org", "pii.email", "X") in cut
    assert record.counters == {"documents": 2, "text_bytes": len(text), "edits": edits.num_rows}


def test_sizes_of_a_partition(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    record = workspace.drive(SizesTask(name=PART, documents=workspace.write("documents", small_documents("né", "abc"))))
    assert workspace.written(record, "signals").to_pylist() == [
        {"doc_id": 1, "n_bytes": 3, "n_chars": 2},
        {"doc_id": 2, "n_bytes": 3, "n_chars": 3},
    ]
    assert workspace.written(record, "edits").num_rows == 0
    assert record.counters == {"documents": 2, "text_bytes": 6, "edits": 0}


def test_verdicts_of_a_partition(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "domains.txt").write_text("bad.example\n")
    blocked, fine = '{"url": "http://bad.example/1"}', '{"url": "http://good.example/1"}'
    parts = [
        small_documents("a b", meta=blocked),
        small_documents("c d", meta=fine),
        small_documents("e", source="off"),
    ]
    table = pa.concat_tables(parts).set_column(0, "doc_id", pa.array([1, 2, 3], pa.uint64()))
    sizes = {"doc_id": table["doc_id"], "n_bytes": pa.array([3, 3, 1]), "n_words": pa.array([2, 2, 1])}
    section = Quality.model_validate({"rules": [], "where": "n_words > 1", "block": {"domains": "checksum"}})
    task = VerdictsTask(
        name=PART,
        documents=workspace.write("documents", table),
        files=workspace.files(signals=pa.table(sizes)),
        qualities={"web": section, "off": None},
        places={"checksum": str(tmp_path / "domains.txt")},
        with_languages=False,
    )
    record = workspace.drive(task)
    assert workspace.written(record, "verdicts")["removed_by"].to_pylist() == ["block.domain", None, None]
    counters = {name: number for name, number in record.counters.items() if number}
    counted = {"alone.block.domain": 1, "only.block.domain": 1, "removed.block.domain": 1, "removed": 1}
    assert counters == {**counted, "kept": 2, "kept_bytes": 4}


def run(corpus: Path, folder: Path, until: str = "quality", **quality: Any) -> Run:
    inputs = [{"source": "web", "path": str(corpus / "web.jsonl")}]
    recipe = from_dict({"inputs": inputs, "workspace": str(folder), "quality": {"languages": [], **quality}}, folder)
    run_recipe(recipe, stop_after=until)
    return curate.open(str(folder))


@pytest.mark.parametrize(
    "quality",
    [
        {},
        {"preset": "fineweb"},
        {"preset": "fineweb", "mode": "corrected", "where": ["meta.score >= 2", "n_words > 9"]},
    ],
)
def test_verdicts_follow_from_signals_and_metadata_alone(corpus: Path, tmp_path: Path, quality: dict[str, Any]) -> None:
    found = run(corpus, tmp_path, **quality)
    signals = found.table("signals").collect().to_arrow()
    fields = found.table("documents").select("id", "source", "meta").collect().to_arrow()
    again = verdicts(signals, fields, Quality.model_validate(quality))
    stored = found.table("verdicts").collect()
    assert stored["removed_by"].to_list() == again.removed_by.to_pylist()
    assert np.array_equal(stored["value"].to_numpy(), again.value, equal_nan=True)
    assert 0 < stored["removed_by"].null_count() < len(stored)


def test_changed_limits_read_no_text(corpus: Path, tmp_path: Path) -> None:
    first = run(corpus, tmp_path, preset="gopher")
    recipe = {
        "quality": {
            "preset": "gopher",
            "thresholds": {"gopher_quality": {"min_doc_words": 130}},
            "where": "meta.score > 0",
        },
        "inputs": [{"source": "web", "path": str(corpus / "web.jsonl")}],
        "workspace": str(tmp_path),
    }
    outcome = run_recipe(from_dict(recipe, tmp_path), stop_after="quality")
    assert [(stage["writes"], stage["skipped"]) for stage in outcome.stages] == [
        (["rejects", "documents"], True),
        (["edits", "signals"], True),
        (["verdicts"], False),
    ]
    second = curate.open(str(tmp_path))
    assert second.snapshots["signals"] == first.snapshots["signals"]
    assert second.snapshots["verdicts"].counters["kept"] < first.snapshots["verdicts"].counters["kept"]
    assert "text_bytes" not in second.snapshots["verdicts"].counters


def test_masks_reach_later_stages_and_documents_stay(corpus: Path, tmp_path: Path) -> None:
    plain = run(corpus, tmp_path / "plain")
    assert plain.table("edits").collect().height == 0
    assert plain.table("signals").select(pl.col("pii_email").sum(), pl.col("pii_ip").sum()).collect().row(0) == (20, 20)
    pii = {"mask": ["email", "ip"], "replace": {"ip": ["IP"]}}
    found = run(corpus, tmp_path / "masked", preset="fineweb", pii=pii)
    edits = found.table("edits").collect()
    assert edits.filter(pl.col("reason") == "pii.ip")["replacement"].to_list() == ["IP"] * 20
    assert set(edits.filter(pl.col("reason").str.starts_with("c4"))["replacement"]) == {None}
    doc_id = edits["doc_id"][0]
    text = found.text(doc_id)
    assert ADDRESS in text.original
    assert text.edited.endswith("call 10.0.0.1 from IP.")
    assert "ann.lee" not in text.edited
    assert "Menu" not in text.edited
    assert text.edited.count("@example.") == 1


def test_every_stage_sees_the_masked_text(corpus: Path, tmp_path: Path) -> None:
    found = run(corpus, tmp_path, until="tokenize", pii={"mask": ["email"], "replace": {"email": ["zzqqzzqq"]}})
    masked = set(found.table("edits").collect()["doc_id"])
    tokens = found.table("tokens").collect()
    path = max(tmp_path.glob("**/*tokenizer*.json"), key=lambda place: place.stat().st_size)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    for doc_id, ids in zip(tokens["doc_id"], tokens["token_ids"], strict=True):
        text = tokenizer.decode(ids.to_list())
        assert ("zzqqzzqq" in text) is (doc_id in masked)
        assert "ann.lee" not in text


def test_counters_of_rules(corpus: Path, tmp_path: Path) -> None:
    limits = {"gopher_quality": {"min_doc_words": 130}}
    found = run(corpus, tmp_path, preset="gopher", where="meta.score > 0", thresholds=limits)
    rules = {one["reason"]: one for one in found.stats()["rules"]}
    removed = sum(one["removed"] for one in rules.values())
    assert removed == found.snapshots["verdicts"].counters["removed"]
    assert rules["where"]["alone"] == 12
    for one in rules.values():
        assert one["only"] <= one["removed"] <= one["alone"]
    languages = found.stats()["languages"]
    assert sum(languages.get("web", {"und": 60}).values()) == 60


def test_block_lists_are_known_by_their_content(corpus: Path, tmp_path: Path) -> None:
    lists = tmp_path / "domains.txt"
    lists.write_text("site1.example\n")
    first = run(corpus, tmp_path / "run", block={"domains": str(lists)})
    assert first.snapshots["verdicts"].counters["removed.block.domain"] == 15
    lists.write_text("site1.example\nsite2.example\n")
    second = run(corpus, tmp_path / "run", block={"domains": str(lists)})
    assert second.snapshots["verdicts"].counters["removed.block.domain"] == 30
    assert second.snapshots["signals"] == first.snapshots["signals"]


def test_a_text_with_nothing_to_edit_is_the_text() -> None:
    from curate.base.edits import apply_edits

    empty = np.zeros(0, np.int64)
    texts = pa.array(["a", "", "é"], pa.large_string())
    assert apply_edits(texts, empty, empty, empty, pa.array([], pa.string())).to_pylist() == ["a", "", "é"]


RULES = """\
dup_line_frac: 1
dup_n_grams: []
language_score: 0.3
line_punct_thr: {punctuated}
max_avg_word_length: 15
max_non_alpha_words_ratio: 0.5
min_avg_word_length: 0
new_line_ratio: 1
stopwords: [{words}]
top_n_grams: []
"""


def test_rules_by_language(tmp_path: Path) -> None:
    """Every document has the limits and stop words of its language; changed limits read no text, changed words do."""
    german = (
        "Die Katze schläft auf dem Dach und der Hund wacht im Garten, während die Kinder aus der Schule kommen. " * 6
    )
    dutch = "De kat slaapt op het dak en de hond waakt in de tuin, terwijl de kinderen uit school komen. " * 6
    english = "The cat sleeps on the roof and the dog is awake in the garden while the children come from school. " * 6
    rows = [{"id": name, "text": text} for name, text in (("de", german), ("nl", dutch), ("en", english))]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "deu_Latn.yml").write_text(RULES.format(punctuated=0, words="und, der"))
    (folder / "nld_Latn.yml").write_text(RULES.format(punctuated=0, words="und, der"))
    quality = {"preset": "fineweb2", "by_language": "rules"}
    recipe = {
        "inputs": [{"source": "web", "path": "web.jsonl"}],
        "quality": quality,
        "engine": "inline",
        "workspace": "run",
    }

    def run() -> dict[str, str | None]:
        run_recipe(from_dict(recipe, tmp_path), stop_after="quality")
        found = curate.open(str(tmp_path / "run"))
        ids = found.table("documents").select("doc_id", "id")
        table = ids.join(found.table("verdicts"), on="doc_id").collect()
        return dict(zip(table["id"], table["removed_by"], strict=True))

    stop_words = "gopher_quality.gopher_enough_stop_words"
    assert run() == {"de": None, "nl": stop_words, "en": "language.no_rules"}
    signals = curate.open(str(tmp_path / "run")).snapshots["signals"].id
    (folder / "deu_Latn.yml").write_text(RULES.format(punctuated=2, words="und, der"))
    assert run()["de"] == "fineweb.line_punct_ratio"
    assert curate.open(str(tmp_path / "run")).snapshots["signals"].id == signals
    (folder / "nld_Latn.yml").write_text(RULES.format(punctuated=0, words="de, het, een"))
    assert run() == {"de": "fineweb.line_punct_ratio", "nl": None, "en": "language.no_rules"}
    assert curate.open(str(tmp_path / "run")).snapshots["signals"].id != signals


def test_a_worker_with_another_icu_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    measures = Measures(None, {}, {"web": None}, {}, {"web": SourceWords("icu 1.0")}, {})
    task = SignalsTask(name=PART, documents=workspace.write("documents", small_documents("a")), measures=measures)
    with pytest.raises(
        (RequestError, AssertionError), match=r"PyICU is not installed|the run was planned with icu 1\.0"
    ):
        workspace.drive(task)
