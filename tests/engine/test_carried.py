"""Files that a recipe names: fetched from URLs, and found again in a job's folder on another node."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from curate.base.errors import RequestError
from curate.engine import carried
from curate.engine.carried import Carried, copy_of, with_copies
from curate.engine.context import TaskContext
from curate.engine.task import PLACE, Task
from curate.recipe.file import from_dict, relative_recipe
from curate.storage.interface import NO_OPTIONS
from tests.s3_server import S3Server, s3_environment  # noqa: F401


@dataclass(frozen=True, slots=True)
class Model:
    """A file by its content."""

    path: str = field(metadata=PLACE)
    checksum: str


@dataclass(frozen=True, kw_only=True)
class ReadTask(Task):
    """Names files in every way that tasks do."""

    grows_with = "fixed"

    model: Model
    lists: dict[str, str] = field(metadata=PLACE)
    sets: tuple[Model, ...] = ()
    said: str = ""

    def work(self, context: TaskContext) -> None:
        pass


def test_files_of_a_job_are_found_below_the_folder_of_each_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = "/ray/head/job/files/ab/model.bin"
    model = Model(inside, "sum")
    lists = {"x": inside, "y": "/usr/share/words", "z": "/ray/head/job-2/a"}
    task = ReadTask(name="a", model=model, lists=lists, sets=(model,), said=inside)
    here = f"{tmp_path}/files/ab/model.bin"
    moved = pickle.loads(pickle.dumps(Carried("/ray/head/job"))).on_this_node(task)
    assert moved == ReadTask(
        name="a", model=Model(here, "sum"), lists={**lists, "x": here}, sets=(Model(here, "sum"),), said=inside
    )
    assert moved.key() == ReadTask(name="a", model=model, lists={}, sets=(model,), said=inside).key()
    assert Carried().on_this_node(task) is task
    assert Carried(str(tmp_path)).on_this_node(task) == task


def test_urls_are_fetched_once_and_by_every_node(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, client = s3.new_bucket(), s3.client()
    for key in ("quality.bin", "quality.bin.old", "bge/config.json", "bge/onnx/model.onnx"):
        client.put_object(Bucket=bucket, Key=f"m/{key}", Body=key.encode())
    url = f"s3://{bucket}/m"
    sections = {
        "inputs": [{"source": "web", "path": f"s3://{bucket}/in/*"}],
        "quality": {"classifier": {"model": f"{url}/quality.bin", "min_score": 0.5}},
        "embed": {"model": f"{url}/bge/"},
    }
    recipe = from_dict({**sections, "workspace": f"s3://{bucket}/run"}, tmp_path)
    driver, worker = tmp_path / "driver", tmp_path / "worker"
    for folder in (driver, worker):
        folder.mkdir()
    monkeypatch.setattr(carried.tempfile, "gettempdir", lambda: str(driver))
    local, files = with_copies(recipe)
    model, folder = Path(local.quality.classifier.model), Path(local.embed.model)
    assert (model.name, model.read_bytes(), model.is_relative_to(driver)) == ("quality.bin", b"quality.bin", True)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "config.json",
        "onnx/model.onnx",
    ]
    assert with_copies(recipe)[0] == local
    assert relative_recipe(recipe)["quality"]["classifier"]["model"] == f"{url}/quality.bin"

    monkeypatch.setattr(carried.tempfile, "gettempdir", lambda: str(worker))
    there = files.on_this_node(ReadTask(name="a", model=Model(str(model), "sum"), lists={"m": str(folder)}))
    assert Path(there.model.path).read_bytes() == b"quality.bin"
    assert Path(there.model.path).is_relative_to(worker)
    assert (Path(there.lists["m"]) / "onnx/model.onnx").is_file()

    client.put_object(Bucket=bucket, Key="m/quality.bin", Body=b"another")
    assert copy_of(f"{url}/quality.bin", NO_OPTIONS, model.parent.name).read_bytes() == b"quality.bin"
    with pytest.raises(RequestError, match="has changed since the run began"):
        copy_of(f"{url}/quality.bin", NO_OPTIONS, "another mark")
    assert with_copies(recipe)[0] != local


@pytest.mark.parametrize(
    ("path", "message"),
    [("https://host/tokenizer.json", "write a path or an s3://"), ("s3://{bucket}/none.json", "does not exist; check")],
)
def test_a_url_that_gives_nothing_is_named_with_its_field(
    s3: S3Server, tmp_path: Path, path: str, message: str
) -> None:
    inputs = [{"source": "web", "path": "s3://b/in/*"}]
    url = path.format(bucket=s3.new_bucket())
    recipe = from_dict({"inputs": inputs, "workspace": "s3://b/run", "tokenizer": {"path": url}}, tmp_path)
    with pytest.raises(RequestError, match=f"tokenizer.path: {url} .*{message}"):
        with_copies(recipe)


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = carried._own_folder()
    folder.chmod(0o777)
    with pytest.raises(RequestError, match="can be written by others"):
        carried._own_folder()
