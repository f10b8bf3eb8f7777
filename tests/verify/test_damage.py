"""Every file of a run, damaged in every way: verification names it with its path and the remedy, and comes to its end."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.base.catalog import OF_WORKSPACE, RECORD, TABLES, manifest_path
from curate.cli import main
from curate.driver.execute import shard_file
from curate.inspect.reader import RunReader
from curate.shards.formats import FORMATS
from curate.tables.snapshot import artefacts_of
from curate.tables.workspace import open_workspace
from curate.verify.verify import CHECKS, verify
from tests.corpus import documents, recipe_of, write_corpus

Damage = Callable[[Path, bytes], None]
"""Damages a file of a run; the bytes are those of the file of the same kind in another run."""


def whole_run(folder: Path, seed: int, *, grown: bool) -> Path:
    """The folder of a run with everything in it: all formats, denoised, a validation set, examples, cuts, a mirror.

    Where it has ``grown``, also a takedown, a second generation and a former state.
    """
    corpus = write_corpus(folder / "text", 70, seed)
    (folder / "queries.jsonl").write_text('{"text": "the ship sails into the harbour before the storm"}\n')
    (folder / "quiz.jsonl").write_text(json.dumps({"text": documents(70, seed)[6]["text"][:200]}))
    recipe = recipe_of(
        corpus,
        folder / "run",
        dedup={
            "semantic": {"threshold": 0.995},
            "paragraphs": "on",
            "decontaminate": {"sets": {"quiz": f"{folder}/quiz.jsonl"}, "action": "cut"},
        },
        synthetic={"share": 0.1, "min_tokens": 256},
        select={"queries": str(folder / "queries.jsonl"), "keep": 0.9},
        shards={
            "validation": {"share": 0.1},
            "formats": list(FORMATS),
            "denoise": {"length": 128},
            "path": str(folder / "mirror"),
        },
    )
    curate.run(recipe)
    if grown:
        curate.remove(str(folder / "run"), ids=["doc-3"], apply=True)
        later = [{**one, "id": f"later-{one['id']}"} for one in documents(20, seed + 5)]
        (folder / "later.jsonl").write_text("\n".join(map(json.dumps, later)))
        recipe["inputs"].append({"source": "later", "path": str(folder / "later.jsonl")})  # type: ignore[attr-defined]
        curate.run(recipe)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything in it."""
    return whole_run(tmp_path_factory.mktemp("whole"), 0, grown=True)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same recipe over other text."""
    return whole_run(tmp_path_factory.mktemp("other"), 11, grown=False)


def emptied(place: Path, _: bytes) -> None:
    rewrite(place, b"")


def deleted(place: Path, _: bytes) -> None:
    place.unlink()


def truncated(place: Path, _: bytes) -> None:
    rewrite(place, place.read_bytes()[: place.stat().st_size // 2])


def flipped(place: Path, _: bytes) -> None:
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(place, content)


def swapped(place: Path, other: bytes) -> None:
    # Files without texts, as Megatron's .idx, may be the same in both runs.
    rewrite(place, other if place.read_bytes() != other else b"of another run")


def rewrite(place: Path, content: bytes) -> None:
    """Replace a file that may be linked from elsewhere."""
    place.unlink()
    place.write_bytes(content)


DAMAGES = (deleted, emptied, truncated, flipped, swapped)
every_damage = pytest.mark.parametrize("damage", DAMAGES)


def table_files(folder: Path) -> dict[str, str]:
    """{what: path below the workspace} of a file of each table, of each kind of file in a shard set, and of each model."""
    found = {}
    _, _, tables = open_workspace(str(folder / "run"))
    for table, snapshot in tables.items():
        for file in sorted(snapshot.files, key=lambda file: file.rows):  # the last one stays
            what = re.sub(r"generation-\d+/|set-\d+/|[-.]\d+$", "", file.name) if table == "shards" else ""
            found[f"{table} {what}{Path(file.path).suffix if what else ''}".strip()] = file.path
        found |= {f"model {file.name}": file.path for file in artefacts_of(snapshot.details)}
    return found


def json_files(folder: Path) -> dict[str, str]:
    """The same of manifests, those of generations, a record of each table, and entries of models."""
    found = {}
    _, state, tables = open_workspace(str(folder / "run"))
    for table, path in state.tables.items():
        found[f"manifest {table}"] = path
        for number, part in enumerate(tables[table].details.get("generations", ())):
            found[f"part {number} {table}"] = manifest_path(table, tables[table].stage_key, part["snapshot"])
        for file in tables[table].files:
            for record in (folder / "run" / file.path).parent.glob(f"*{RECORD}"):
                found[f"record {table}"] = record.relative_to(folder / "run").as_posix()
        for model in artefacts_of(tables[table].details):
            [entry] = (folder / "run" / model.path).parent.parent.glob("*.json")
            found[f"entry {model.name}"] = entry.relative_to(folder / "run").as_posix()
    return found


def copy_of(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "copy", copy_function=os.link)
    return tmp_path / "copy"


def verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """The faults that `curate verify` prints; they are its only way to fail."""
    assert main(["verify", str(folder / "run"), "--json"]) == 1
    return list(json.loads(capsys.readouterr().out)["faults"])


def unnamed(faults: list[dict[str, str]], paths: Iterable[str]) -> list[str]:
    """Paths that no fault names with a remedy."""
    said = [f"{fault['where']} {fault['what']}" for fault in faults if fault["remedy"]]
    return [path for path in paths if not any(path in text for text in said)]


@pytest.fixture(autouse=True)
def all_faults_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.verify.findings.MAX_FAULTS", 10_000)


def test_the_run_has_everything(whole: Path) -> None:
    report = verify(str(whole / "run"))
    assert (report.faults, report.skipped) == ([], {})
    assert set(report.checks) == {check.name for check in CHECKS}
    assert {name.partition(" ")[0] for name in table_files(whole)} == {*TABLES, "model"}
    for form in FORMATS:
        assert {f"windows in {form}", f"windows in denoised/{form}"} <= report.checks["shards"].keys()
    assert report.checks["removed"]["documents"] == 1
    assert report.checks["state"]["former states"] == 1
    assert any(name.startswith("part 1") for name in json_files(whole))


def test_each_table_has_the_schema_and_the_order_of_the_catalogue(whole: Path) -> None:
    run = RunReader(str(whole / "run"))
    for name, snapshot in run.snapshots.items():
        expected = TABLES[name].schema({**run.snapshots["tokens"].details, **snapshot.details})
        for file in snapshot.files if expected is not None else ():
            rows = run.read(file)
            assert set(expected.names) <= set(rows.column_names), name
            assert TABLES[name].open_columns or expected.names == rows.column_names, name
            assert rows.select(expected.names).schema.types == expected.types, name
            order = [(column, "ascending") for column in TABLES[name].order]
            assert rows.select(TABLES[name].order).equals(rows.select(TABLES[name].order).sort_by(order)), name


@every_damage
def test_files_of_tables_and_of_the_mirror(damage: Damage, whole: Path, other: Path, tmp_path: Path, capsys) -> None:
    folder, others = copy_of(whole, tmp_path), table_files(other)
    paths = table_files(folder)
    for what, path in paths.items():
        damage(folder / "run" / path, (other / "run" / others.get(what, "run.json")).read_bytes())
    for place in sorted((folder / "mirror").rglob("*.*"))[1:]:
        name = place.relative_to(folder / "mirror").as_posix()
        assert shard_file().match(name)
        elsewhere = other / "mirror" / name
        damage(place, elsewhere.read_bytes() if elsewhere.exists() else b"another file")
        paths[f"mirror {name}"] = f"mirror/{name}"
    faults = verified(folder, capsys)
    assert unnamed(faults, paths.values()) == []
    assert {fault["check"] for fault in faults} == {"files", "mirror"}, "what cannot be relied on is checked no further"


@every_damage
def test_manifests(damage: Damage, whole: Path, other: Path, tmp_path: Path, capsys) -> None:
    folder, others = copy_of(whole, tmp_path), json_files(other)
    paths = {what: path for what, path in json_files(folder).items() if what.startswith("manifest")}
    for what, path in paths.items():
        damage(folder / "run" / path, (other / "run" / others.get(what, "run.json")).read_bytes())
    assert unnamed(verified(folder, capsys), paths.values()) == []


@every_damage
def test_parts_records_models_and_former_states(
    damage: Damage, whole: Path, other: Path, tmp_path: Path, capsys
) -> None:
    folder, others = copy_of(whole, tmp_path), json_files(other)
    paths = {what: path for what, path in json_files(folder).items() if not what.startswith("manifest")}
    paths["former state"] = "history/run-00002.json"
    if damage is deleted:  # nothing names a record or a former state: what is lost is work that a later run repeats
        paths = {what: path for what, path in paths.items() if what.startswith(("part", "entry"))}
    for what, path in paths.items():
        damage(folder / "run" / path, (other / "run" / others.get(what, "run.json")).read_bytes())
    assert unnamed(verified(folder, capsys), paths.values()) == []


@every_damage
def test_run_json(damage: Damage, whole: Path, other: Path, tmp_path: Path, capsys) -> None:
    folder = copy_of(whole, tmp_path)
    damage(folder / "run" / "run.json", (other / "run" / "run.json").read_bytes())
    if damage is deleted:
        assert main(["verify", str(folder / "run")]) == 2
        assert "holds no finished run (no run.json)" in capsys.readouterr().err
    else:
        assert unnamed(verified(folder, capsys), ["run.json"]) == []


class OneFormat(RunReader):
    """A run whose shards are read back in one format, to save time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.snapshots["shards"].details["formats"] = ["parquet"]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_lost_ends_no_check(table: str, whole: Path, tmp_path: Path, monkeypatch) -> None:
    """Other checks go on; those that need the table are skipped, and say so."""
    monkeypatch.setattr("curate.verify.verify.RunReader", OneFormat)
    folder = copy_of(whole, tmp_path)
    path = next(path for what, path in table_files(folder).items() if what.partition(" ")[0] == table)
    (folder / "run" / path).unlink()
    report = verify(str(folder / "run"))
    assert [(fault.check, fault.where) for fault in report.faults] == [("files", path)]
    skipped = [check.name for check in CHECKS if table in check.reads]
    assert list(report.skipped) == skipped
    assert all(table in why for why in report.skipped.values())


@pytest.mark.parametrize("damage", [deleted, flipped, truncated])
def test_damage_that_is_met_late(damage: Damage, whole: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """A file that changes after it was checked, or holds what no run writes: each check reports it and ends."""
    folder = copy_of(whole, tmp_path)
    for path in table_files(folder).values():
        damage(folder / "run" / path, b"")
    monkeypatch.setattr("curate.verify.verify.CHECKS", [check for check in CHECKS if check.name != "files"])
    failed = {fault["check"] for fault in verified(folder, capsys)}
    assert failed >= {"partitions", "windows", "shards"}


def test_the_remedies(whole: Path, tmp_path: Path, capsys) -> None:
    """What is deleted is made again by the same recipe, where the remedy says so."""
    folder = copy_of(whole, tmp_path)
    faults = []
    for files in (table_files, json_files):
        for path in files(folder).values():
            if path.partition("/")[0] not in ("documents", *OF_WORKSPACE):
                (folder / "run" / path).unlink(missing_ok=True)
    faults = verified(folder, capsys)
    assert {"run the recipe again" in fault["remedy"] for fault in faults} == {True}
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["workspace"], recipe["shards"]["path"] = str(folder / "run"), str(folder / "mirror")
    curate.run(recipe)
    for state in {fault.where for fault in verify(str(folder / "run")).faults}:
        assert state.startswith("history/"), "former states are not made again"
        (folder / "run" / state).unlink()
    assert verify(str(folder / "run")).faults == []
