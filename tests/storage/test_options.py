"""Storage options: who sets them, that they travel, and that every command's requests carry them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.api import as_recipe
from curate.driver.clean import clean
from curate.driver.execute import mirror, run_recipe
from curate.engine.inputs import storage_options
from curate.finished_run import Run
from curate.planning.check import check
from curate.recipe.file import from_dict
from curate.report.page import report
from curate.storage import s3_clients
from curate.storage.interface import NO_OPTIONS, StorageOptions
from curate.storage.open import open_storage
from curate.verify.verify import verify
from tests import hand
from tests.faults.corpus import small_recipe, write_small_corpus
from tests.s3_server import S3Server, s3_environment  # noqa: F401

SECTION = {"requester_pays": True, "sse": "aws:kms", "kms_key_id": "alias/corpus"}
OPTIONS = StorageOptions(True, "aws:kms", "alias/corpus")
WRITES = {"PutObject", "CreateMultipartUpload", "CopyObject"}
BEFORE = ("ListObjectsV2 ?list-type=2", {"GetObject /run/run.json"})
"""The requests before the recipe of a finished run is known: the first contact with the bucket, then these."""


class Asked:
    """The requests of this process: (operation, path, headers)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def note(self, params: dict[str, Any], model: Any, **_: object) -> None:
        self.requests.append((model.name, params["url_path"], dict(params["headers"])))

    def without_payer(self) -> list[str]:
        """Requests that do not say that the requester pays."""
        return [
            f"{name} {path}"
            for name, path, headers in self.requests
            if headers.get("x-amz-request-payer") != "requester"
        ]

    def encryption(self) -> set[tuple[str | None, str | None]]:
        """(encryption, key) of the requests that write."""
        names = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
        return {(headers.get(names[0]), headers.get(names[1])) for name, _, headers in self.requests if name in WRITES}


@pytest.fixture
def asked(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """What is asked of the endpoint; pyarrow's own client, which would not be noticed, is refused."""
    asked = Asked()
    clients = [s3_clients.client_of(os.getpid()), s3_clients.client_of(os.getpid(), quick=True)]
    for client in clients:
        client.meta.events.register("before-call.s3", asked.note)

    def refuse(*_: object) -> None:
        raise AssertionError("pyarrow's client cannot say who pays")

    monkeypatch.setattr(s3_clients, "filesystem", refuse)
    yield asked
    for client in clients:
        client.meta.events.unregister("before-call.s3", asked.note)


@pytest.fixture
def remote(s3: S3Server, builder: hand.Builder) -> str:
    """A finished workspace in a bucket, whose recipe sets the options."""
    root = Path(builder.finish({**hand.RECIPE, "storage": SECTION}))
    bucket = s3.new_bucket()
    for file in root.rglob("*"):
        if file.is_file():
            s3.client().upload_file(str(file), bucket, f"run/{file.relative_to(root).as_posix()}")
    return f"s3://{bucket}/run"


def test_the_recipe_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(**storage: object) -> StorageOptions:
        given = {"inputs": [{"source": "web", "path": "s3://b/*.jsonl"}], "storage": storage}
        return storage_options(from_dict(given, Path("/")))

    assert of() == NO_OPTIONS
    monkeypatch.setenv("CURATE_S3_REQUESTER_PAYS", "Yes")
    monkeypatch.setenv("CURATE_S3_SSE", "aws:kms")
    monkeypatch.setenv("CURATE_S3_KMS_KEY_ID", "alias/corpus")
    assert of() == OPTIONS
    assert of(requester_pays=False) == StorageOptions(False, "aws:kms", "alias/corpus")
    assert of(sse="aws:kms", kms_key_id="alias/other") == StorageOptions(True, "aws:kms", "alias/other")
    assert s3_clients.encryption_of(of(sse="AES256")) == {"ServerSideEncryption": "AES256"}


def test_a_damaged_section_is_ignored() -> None:
    for section in (None, "aws:kms", [1], {"other": 1}):
        assert OPTIONS.override(section) == OPTIONS


@pytest.mark.parametrize("url", ["s3://bucket/run", "run"])
def test_options_travel_and_their_key_is_not_shown(url: str) -> None:
    storage = pickle.loads(pickle.dumps(open_storage(url, OPTIONS)))
    assert storage.options == OPTIONS
    assert "corpus" not in repr(storage) + repr(storage.options)


def test_nothing_else_reads_or_sets_the_variables() -> None:
    root = Path(curate.__file__).parent
    naming = [file.relative_to(root).as_posix() for file in root.rglob("*.py") if "CURATE_S3" in file.read_text()]
    assert naming == ["storage/interface.py"]
    assert "environ[" not in (root / naming[0]).read_text()


@pytest.mark.parametrize(
    "look",
    [
        lambda url: curate.open(url).stats(),
        lambda url: len(curate.open(url).table("tokens").collect()),
        lambda url: report(curate.open(url)),
        lambda url: curate.open(url).compare(url),
        lambda url: clean(url, remove=True),
        lambda url: verify(url).checks,
    ],
    ids=["stats", "table", "report", "compare", "clean", "verify"],
)
def test_commands_on_a_finished_run_read_as_its_recipe_says(
    remote: str, asked: Asked, look: Callable[[str], object]
) -> None:
    assert look(remote)
    contact, *others = asked.without_payer()
    assert (contact, set(others)) == BEFORE
    assert len(asked.requests) > len(others) + 5


def test_the_environment_counts_before_the_recipe_is_known(
    remote: str, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_S3_REQUESTER_PAYS", "1")
    assert curate.open(remote).stats()
    assert asked.without_payer() == []


def test_an_export_and_a_mirror_are_encrypted_as_the_recipe_says(s3: S3Server, remote: str, asked: Asked) -> None:
    run, bucket = curate.open(remote), s3.new_bucket()
    asked.requests.clear()
    run.export(f"s3://{bucket}/text")
    mirror(run.storage, run.snapshot("shards"), f"s3://{bucket}/shards")
    assert asked.without_payer() == []
    assert asked.encryption() == {("aws:kms", "alias/corpus")}
    for one in s3.client().list_objects_v2(Bucket=bucket)["Contents"]:
        assert s3.client().head_object(Bucket=bucket, Key=one["Key"])["SSEKMSKeyId"] == "alias/corpus", one["Key"]


@pytest.mark.slow
def test_every_request_of_a_run_says_what_its_recipe_does(s3: S3Server, asked: Asked, tmp_path: Path) -> None:
    folder, bucket = write_small_corpus(tmp_path / "text"), s3.new_bucket()
    for file in folder.iterdir():
        s3.client().upload_file(str(file), bucket, f"in/{file.name}")
    environment = dict(os.environ)
    recipe = small_recipe(f"s3://{bucket}/in", f"s3://{bucket}/run", engine="inline", storage=SECTION)
    recipe["shards"]["path"] = f"s3://{bucket}/shards"
    assert check(as_recipe(recipe))["estimate"]
    outcome = run_recipe(as_recipe(recipe))
    run = Run(outcome.workspace, outcome.options)
    assert asked.without_payer() == []
    taken = run.table("ledger").filter(status="kept").collect()["id"][0]
    assert curate.remove(run.url, ids=[taken], apply=True).done
    contact, *others = asked.without_payer()
    assert (contact, set(others)) == BEFORE
    assert asked.encryption() == {("aws:kms", "alias/corpus")}
    assert dict(os.environ) == environment
