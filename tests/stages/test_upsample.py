"""The upsample stage: what counts as long, what is held out."""

from __future__ import annotations

import json
import math
import random

import polars as pl
import pyarrow as pa
import pytest

import curate
from curate.base import schemas
from curate.base.errors import RecipeError
from curate.recipe.file import from_dict
from curate.stages.upsample import COMPONENTS, ComponentsTask, CopiesTask, LengthRule, MassesTask
from tests.corpus import recipe_of, text
from tests.stages.alone import PART, Workspace, rows


def unrelated(rng):
    """Long enough to be measured, of words that never come back."""
    return " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(7)) for _ in range(6_000))


@pytest.fixture
def folder(tmp_path):
    rng = random.Random(0)
    again = text(rng, "sea", 300)
    texts = {"joined": unrelated(rng), "story": unrelated(rng)[:20_000] + again + unrelated(rng)[:20_000] + again}
    texts |= {f"note-{i}": text(rng, "music", 12) for i in range(20)}
    (tmp_path / "text").mkdir()
    lines = "".join(json.dumps({"id": name, "text": body}) + "\n" for name, body in texts.items())
    (tmp_path / "text" / "a.jsonl").write_text(lines)
    return tmp_path


def recipe(folder, **upsample):
    method = {"method": "global", "long_tokens": 1_500, "long_share": 0.9, "max_copies": 3}
    made = recipe_of(folder / "text", folder / "run", upsample=method | upsample)
    rules = {"rules": []}
    return made | {"inputs": [{"source": "web", "path": f"{folder}/text/*.jsonl"}], "quality": rules}


def drawn(found):
    named = found.table("documents").select("doc_id", "id").collect()
    rows = found.table("copies").collect().join(named, on="doc_id")
    return {row["id"]: (row["copies"], row["reason"]) for row in rows.to_dicts()}


def test_a_long_text_of_unrelated_parts_is_not_upsampled(folder):
    found = curate.run(recipe(folder), until="upsample")
    assert drawn(found)["joined"][1] == drawn(found)["story"][1] == "web.long"
    limited = curate.run(recipe(folder, min_long_range_gain=0.02), until="upsample")
    copies = drawn(limited)
    assert copies["story"] == (3, "web.long")
    assert copies["joined"] == (1, "web.not_long_range")
    table = limited.stats()["upsampling"]["lengths"]
    assert sum(row["refused"] for row in table) == 1
    assert next(row for row in table if row["refused"])["upto"] > 1_500
    assert limited.snapshots["copies"].counters["not_long_range"] == 1
    assert limited.table("tokens").filter(pl.col("n_tokens") > 1_500).collect().height == 2


def test_a_text_that_repeats_itself_is_not_upsampled(folder):
    repeated = {"id": "repeated", "text": "\n\n".join([text(random.Random(1), "garden", 30)] * 40)}
    with (folder / "text" / "a.jsonl").open("a") as out:
        out.write(json.dumps(repeated) + "\n")
    copies = drawn(curate.run(recipe(folder, min_compression_ratio=0.05), until="upsample"))
    assert copies["repeated"] == (1, "web.not_long_range")
    assert copies["story"][1] == "web.long"


def test_a_text_whose_terms_stay_in_their_part_is_not_upsampled(folder):
    found = curate.run(recipe(folder), until="upsample")
    named = found.table("documents").select("doc_id", "id").collect()
    signals = found.table("signals").select("doc_id", "rare_recurrence").collect().join(named, on="doc_id")
    values = {row["id"]: row["rare_recurrence"] for row in signals.to_dicts()}
    measured = {name: value for name, value in values.items() if not math.isnan(value)}
    assert 1 <= len(measured) <= 2, "of two long texts"
    limit = max(measured.values()) + 0.01
    limited = curate.run(recipe(folder, min_rare_recurrence=limit), until="upsample")
    refused = {name for name, (_, reason) in drawn(limited).items() if reason == "web.not_long_range"}
    assert refused == measured.keys(), "a text without a value is not refused"
    assert limited.snapshots["copies"].counters["not_long_range"] == len(measured)


def test_a_ratio_is_a_share(folder):
    shares = recipe(folder, long_share=0.75)
    ratio = recipe(folder, method="long_short", long_short=3.0)
    assert drawn(curate.run(ratio, until="upsample")) == drawn(curate.run(shares, until="upsample"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"upsample": {"method": "long_short"}},
        {"upsample": {"long_short": 2.0}},
        {"upsample": {"min_long_range_gain": 0.1}, "quality": "off"},
        {"upsample": {"min_rare_recurrence": 0.1}, "quality": "off"},
    ],
)
def test_what_cannot_be_had_is_refused(folder, wrong):
    with pytest.raises(RecipeError):
        from_dict(recipe(folder) | wrong, folder)


# --- tasks alone


def lengths_of(workspace, ids, n_tokens, limits=None, validation=0.0, components=None, **signals):
    """What tasks are told of documents of one source with so many tokens."""
    documents = [(i, f"id-{i}", "web", "text", None) for i in ids]
    tokens = [(i, [0], n) for i, n in zip(ids, n_tokens, strict=True)]
    order = [(i, place, 0, 0.0) for place, i in enumerate(ids)]
    tables = {"tokens": rows(schemas.tokens_schema(10), *tokens), "order": rows(schemas.ORDER, *order), **signals}
    return {
        "name": PART,
        "documents": workspace.write("documents", rows(schemas.DOCUMENTS, *documents)),
        "files": workspace.files(**tables),
        "target": 0,
        "rule": LengthRule(limits or {}, (100,), 0, validation, components),
    }


def test_a_rate_gives_copies_and_a_signal_below_its_limit_the_rate_of_short_documents(tmp_path):
    workspace = Workspace(tmp_path)
    signals = pa.table({"doc_id": pa.array([1, 2, 3], pa.uint64()), "long_range_gain": [0.5, 0.001, float("nan")]})
    limits = {"long_range_gain": 0.01}
    fields = lengths_of(workspace, [1, 2, 3], [100, 101, 5_000], limits, signals=signals)
    rates = {("web", 0): [1.0], ("web", 1): [2.0]}
    task = CopiesTask(**fields, rates=rates, curves=None, is_staged=False)
    record = workspace.drive(task)
    copies = workspace.read(record.files["copies"][0]).to_pydict()
    assert copies["copies"] == [1, 1, 2]
    assert copies["reason"] == ["web.short", "web.not_long_range", "web.long"]
    assert record.counters["tokens"] == 100 + 101 + 2 * 5_000
    assert record.counters["not_long_range"] == 1


def test_documents_of_one_duplicate_component_are_held_out_together(tmp_path):
    workspace = Workspace(tmp_path)
    ids = list(range(1, 101))
    documents = lengths_of(workspace, ids, [10] * 100)["documents"]
    pairs = [(1_000 + i, "near", i, (i + 1) // 2, 0.9, 1, 0.0) for i in ids]  # keepers 1 and 2 are of component 1
    duplicates = workspace.write("duplicates", rows(schemas.DUPLICATES, *pairs))
    task = ComponentsTask(
        name="components", duplicates=(duplicates,), documents=workspace.table("documents", documents)
    )
    components = workspace.send(COMPONENTS, task)
    fields = lengths_of(workspace, ids, [10] * 100, validation=0.3, components=components)
    copies = CopiesTask(**fields, rates={("web", 0): [1.0]}, curves=None, is_staged=False)
    reasons = workspace.read(workspace.drive(copies).files["copies"][0])["reason"].to_pylist()
    held_out = [reason == "validation" for reason in reasons]
    assert held_out[::2] == held_out[1::2]
    assert 10 <= sum(held_out) <= 50
    record = workspace.drive(MassesTask(**fields))
    assert record.values["masses"] == [("web", 0, 4, 100 - sum(held_out), 10 * (100 - sum(held_out)))]
