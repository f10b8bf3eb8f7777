"""Recipes: what is accepted, and how errors name file, line, key and remedy."""

from __future__ import annotations

import os

import pytest
from datasketch import MinHashLSH

from curate.base.errors import RecipeError
from curate.recipe import Quality
from curate.recipe.file import apply_changes, field_rows, from_dict, load

INPUTS = "inputs:\n  - {source: web, path: web.jsonl}\n"


def write(folder, text: str):
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping of keys"),
        ("inputs: []\n", "line 1: `inputs`"),
        ("name: x\n", "`inputs` is required; list at least one"),
        (INPUTS + "dedupe: {}\n", "line 3: unknown key `dedupe`; did you mean `dedup`?"),
        (INPUTS + "pack:\n  windw: 5\n", "line 4: unknown key `pack.windw`; did you mean `window`?"),
        (INPUTS + "pack: {window: many}\n", "line 3: `pack.window` is 'many': input should be a valid integer"),
        (INPUTS + "pack: {method: bestfit}\n", "did you mean best_fit?"),
        (INPUTS + "pack: {weights: {cuts: -1}}\n", "`cuts` must be between 0 and 1000, or off"),
        (INPUTS + "dedup: {semantic: {threshold: 2}}\n", "`dedup.semantic"),
        (INPUTS + "dedup: {near: {bnads: 3}}\n", "unknown key `dedup.near.bnads`; did you mean `bands`?"),
        (INPUTS + "dedup: {near: {bands: auto, rows: 5}}\n", "`bands: auto` chooses the rows too"),
        (INPUTS + "dedup: {near: {bands: 4, rows: 4, num_perm: 32}}\n", "is not bands × rows = 16"),
        (INPUTS + "dedup: {near: {bands: many}}\n", "`dedup.near.bands` is 'many'"),
        (INPUTS + "embed: {model: column}\n", "line 3: `embed`: `model: column` and `field: NAME` go together"),
        (INPUTS + "tokenizer: {path: a.json, train: {vocab_size: 300}}\n", "either `path` or `train`"),
        (INPUTS + "upsample: {method: weights}\n", "go together"),
        (INPUTS + "quality: {thresholds: {gopher_quality: {min_wrds: 3}}}\n", "min_wrds"),
        (INPUTS + "quality: {preset: gofer}\n", "did you mean gopher?"),
        (
            INPUTS + "quality: {thresholds: {gopher_quality: {min_doc_words: 3}}}\n",
            "the preset that has them (gopher, fineweb, fineweb2)",
        ),
        ("inputs:\n  - {source: web, path: web.jsonl, kind: books}\n", "did you mean book?"),
        (
            "inputs:\n  - {source: a, path: x, kind: book}\n  - {source: a, path: y, kind: web}\n",
            "source 'a' is listed twice with a different quality section, kind or licence",
        ),
        ("inputs:\n  - {path: web.jsonl}\n", "line 2: `inputs.0.source` is required"),
        ("inputs:\n  - {source: a/b, path: x}\n", "`inputs.0.source` is 'a/b'"),
        ("inputs:\n  - {source: a, path: x, quality: {ruels: []}}\n", "ruels"),
        ("inputs: [\n", "is not valid YAML"),
        ("inputs: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
    ],
)
def test_errors_say_where_and_what_to_do(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_missing_recipe_names_the_remedy(tmp_path):
    with pytest.raises(RecipeError, match="curate init"):
        load(tmp_path / "none.yaml")


def test_defaults_and_switches(tmp_path):
    recipe = load(write(tmp_path, INPUTS + "quality: off\ndedup: {near: off}\n"))
    assert recipe.quality == "off"
    assert recipe.dedup.near == "off"
    assert recipe.workspace == str(tmp_path / "runs/corpus")
    assert recipe.inputs[0].path == str(tmp_path / "web.jsonl")


def test_rules_run_in_the_published_order_and_presets_can_be_changed():
    assert Quality(rules=("c4", "gopher_repetition")).rules == ("gopher_repetition", "c4")
    fineweb = Quality(preset="fineweb")
    assert fineweb.rules == ("gopher_repetition", "gopher_quality", "c4", "fineweb")
    assert Quality(preset="fineweb", rules=("c4",)).rules == ("c4",)


def test_a_source_may_have_a_quality_section_of_its_own(tmp_path):
    recipe = from_dict(
        {
            "inputs": [
                {"source": "web", "path": "w.jsonl"},
                {"source": "books", "path": "b.jsonl", "quality": {"rules": ["gopher_quality"]}},
                {"source": "code", "path": "c.jsonl", "quality": False},
            ],
            "quality": {"languages": ["en"]},
        },
        tmp_path,
    )
    assert recipe.source_quality("books").languages == ("en",)
    assert recipe.source_quality("books").rules == ("gopher_quality",)
    assert recipe.source_quality("code") is None
    assert recipe.source_quality("web").rules == ("junk",)


def test_limits_follow_the_kind_of_an_input(tmp_path):
    inputs = [
        {"source": "web", "path": "w.jsonl"},
        {"source": "code", "path": "c.jsonl", "kind": "code"},
        {"source": "old", "path": "o.jsonl", "quality": {"preset": "gopher"}},
    ]
    recipe = from_dict({"inputs": inputs, "quality": {"kind": "web", "preset": "fineweb"}}, tmp_path)
    assert [recipe.source_quality(name).kind for name in recipe.sources] == ["web", "code", "web"]
    assert recipe.source_quality("old").rules == ("gopher_repetition", "gopher_quality")
    assert "fineweb" in recipe.source_quality("code").rules


def test_bands_can_be_datasketchs_choice(tmp_path):
    index = MinHashLSH(threshold=0.7, num_perm=200)
    recipe = load(write(tmp_path, INPUTS + "dedup: {near: {bands: auto, num_perm: 200, threshold: 0.7}}\n"))
    assert recipe.dedup.near.bands_and_rows == (index.b, index.r)
    again = from_dict(recipe.model_dump(), tmp_path)
    assert again.dedup.near.bands_and_rows == (index.b, index.r)


@pytest.mark.parametrize("change", ["pack.window", "=3", "name.x.y=3", "inputs.7.path=x"])
def test_wrong_changes_are_refused(change):
    with pytest.raises(RecipeError, match="--set"):
        apply_changes({"name": "a", "inputs": [{"source": "a", "path": "p"}]}, [change])


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        ("{method: buckets, separator: x}", "no window holds two documents; leave `separator` out"),
        ("{separator: ''}", "at least 1 character"),
        ("{bos: ''}", "name of a token, not an empty text"),
    ],
)
def test_control_tokens_that_cannot_be(tmp_path, pack, message):
    with pytest.raises(RecipeError, match=message):
        load(write(tmp_path, INPUTS + f"pack: {pack}\n"))


@pytest.mark.parametrize("method", ["best_fit", "concat", "buckets"])
def test_diversity_is_refused_where_nothing_heeds_it(tmp_path, method):
    with pytest.raises(RecipeError, match="`min_vendi` is heeded by `method: related` alone"):
        load(write(tmp_path, INPUTS + f"pack: {{method: {method}, min_vendi: 0.3}}\n"))


def test_changes_apply_to_a_copy():
    data = {"inputs": [{"source": "a", "path": "p"}], "pack": {"window": 5}}
    changed = apply_changes(data, ["pack.window=7", "inputs.0.path=q", "shards.formats=[mds]"])
    assert changed == {"inputs": [{"source": "a", "path": "q"}], "pack": {"window": 7}, "shards": {"formats": ["mds"]}}
    assert data["pack"] == {"window": 5}


def test_every_field_has_a_meaning():
    rows = field_rows()
    assert all(meaning for *_, meaning in rows), [row for row in rows if not row[3]]
    keys = [row[0] for row in rows]
    assert len(keys) == len(set(keys))
    assert {"inputs[].path", "dedup.near.bands", "quality.classifier.min_score", "pack.window"} <= set(keys)


def test_every_path_is_taken_from_the_recipe_and_written_down_without_its_place(tmp_path):
    from curate.recipe.file import essential_recipe, relative_recipe

    lists = {"block": {"domains": "lists/domains.txt"}, "language_model": "models/lid.bin"}
    scored = {"classifier": {"model": "models/q.bin", "min_score": 0.5}}
    recipe = from_dict(
        {
            "workspace": "runs/a",
            "inputs": [{"source": "a", "path": "a.jsonl", "quality": scored}],
            "quality": lists,
            "dedup": {"decontaminate": {"sets": {"quiz": "eval/quiz.jsonl"}}},
        },
        tmp_path,
    )
    assert recipe.quality.block.domains == str(tmp_path / "lists/domains.txt")
    assert recipe.source_quality("a").classifier.model == str(tmp_path / "models/q.bin")
    assert recipe.dedup.decontaminate.sets["quiz"].path == str(tmp_path / "eval/quiz.jsonl")
    for written in (essential_recipe(recipe), relative_recipe(recipe)):
        assert str(tmp_path) not in repr(written)
    again = from_dict({**relative_recipe(recipe), "workspace": str(tmp_path / "runs/a")}, tmp_path / "runs/a")
    model = os.path.normpath(again.source_quality("a").classifier.model)
    assert model == recipe.source_quality("a").classifier.model


def test_a_stored_recipe_is_read_where_the_current_folder_is_gone(tmp_path, monkeypatch):
    from curate.recipe.file import absolute_recipe

    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    stored = {"inputs": [{"source": "web", "path": "web.jsonl"}]}
    assert absolute_recipe(stored, "s3://bucket/run").inputs[0].path == "/web.jsonl"
