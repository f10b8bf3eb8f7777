"""What an S3 endpoint adds: listing, parts, lost answers, encryption, who pays, temporary credentials."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from curate.base.errors import WorkspaceError
from curate.recipe import ObjectStorage
from curate.storage import s3 as s3_module
from curate.storage import s3_clients
from curate.storage.interface import FileInfo, StorageOptions
from curate.storage.s3 import S3Storage
from curate.storage.s3_clients import forget_clients
from curate.storage.s3_errors import S3Error
from tests.s3_server import S3Server, fresh_clients, s3_environment  # noqa: F401


@pytest.fixture
def remote(s3: S3Server) -> S3Storage:
    return S3Storage(f"s3://{s3.new_bucket()}/runs/one")


def test_the_url_is_taken_apart():
    storage = S3Storage("s3://bucket/a/b/")
    assert (storage.bucket, storage.prefix, storage.url) == ("bucket", "a/b", "s3://bucket/a/b")
    assert S3Storage("s3://bucket").url == "s3://bucket"
    with pytest.raises(WorkspaceError, match="names no bucket"):
        S3Storage("s3:///a")


def test_listing_an_object_finds_it_and_skips_folder_marks(s3, remote):
    whole = S3Storage(f"s3://{remote.bucket}")
    s3.client().put_object(Bucket=remote.bucket, Key="books/", Body=b"")
    whole.put("books/a.txt", b"abc")
    whole.put("books/a.txt2", b"")
    assert [info.path for info in whole.list("books")] == ["books/a.txt", "books/a.txt2"]
    assert list(whole.list("books/a.txt")) == [FileInfo("books/a.txt", 3, "900150983cd24fb0d6963f7d28e17f72")]


def test_a_large_file_is_uploaded_in_parts(remote, monkeypatch):
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 << 20)
    local = remote.scratch() / "large"
    data = os.urandom(1 << 20) * 6
    local.write_bytes(data)
    remote.move_in(local, "large")
    (info,) = remote.list("large")
    assert info.etag.endswith("-2")
    assert remote.read("large") == data
    assert remote.open("large").read() == data


def test_a_put_whose_answer_was_lost_has_won(remote):
    lost = []

    def lose_the_answer(**_: object) -> float | None:
        lost.append(1)
        return 0.0 if len(lost) == 1 else None  # a delay in seconds makes botocore send the request again

    assert not remote.exists("run.json")
    events = s3_clients.client_of(os.getpid()).meta.events
    events.register_first("needs-retry.s3.PutObject", lose_the_answer)
    try:
        assert remote.put_if("run.json", b"1", None)
        assert len(lost) == 2
        lost.clear()
        assert remote.put_if("run.json", b"2", b"1")
        assert len(lost) == 2
        lost.clear()
        assert not remote.put_if("run.json", b"3", None)
    finally:
        events.unregister("needs-retry.s3.PutObject", lose_the_answer)
    assert remote.read("run.json") == b"2"


def test_many_objects_are_listed_in_ranges_side_by_side(s3, remote, monkeypatch):
    names = [f"raw/{folder}/{name}" for folder in ("a", "b", "b-c", "ü", "z") for name in "12345"] + ["raw/0", "raw/~"]
    for name in names:
        remote.put(name, name.encode())
    flat = list(remote.list("raw"))
    assert [info.path for info in flat] == sorted(names, key=str.encode)
    monkeypatch.setattr(s3_clients, "LIST_KEYS", 2)
    assert list(remote.list("raw")) == flat
    assert list(remote.list()) == flat
    monkeypatch.setattr(s3_clients, "LIST_THREADS", 3)
    assert list(remote.list("raw")) == flat


def test_unfinished_uploads_are_found_and_abandoned(s3, remote):
    begun = [
        s3.client().create_multipart_upload(Bucket=remote.bucket, Key=f"runs/{key}")["UploadId"]
        for key in ("one/tmp/a", "one/tmp/a", "one/tmp/ab", "two/tmp/a")
    ]
    assert sorted(remote.unfinished()) == ["tmp/a", "tmp/a", "tmp/ab"]
    remote.abandon("tmp/a")
    assert list(remote.unfinished()) == ["tmp/ab"]
    left = s3.client().list_multipart_uploads(Bucket=remote.bucket)["Uploads"]
    assert sorted(upload["UploadId"] for upload in left) == sorted(begun[2:])


def test_without_the_right_to_look_no_unfinished_upload_is_found(remote, monkeypatch):
    def denied(**_: object) -> None:
        raise ClientError({"Error": {"Code": code}}, "ListMultipartUploads")

    monkeypatch.setattr(s3_clients.client_of(os.getpid()), "list_multipart_uploads", denied)
    code = "AccessDenied"
    assert list(remote.unfinished()) == []
    code = "InternalError"
    with pytest.raises(S3Error, match="overloaded or failing"):
        list(remote.unfinished())


@pytest.mark.parametrize("way", ["put", "put_if", "move_in", "copy"])
def test_objects_are_encrypted_as_the_options_say(s3, remote, way):
    storage = S3Storage(remote.url, StorageOptions(sse="aws:kms", kms_key_id="alias/corpus"))
    if way == "put":
        storage.put("x", b"1")
    elif way == "put_if":
        assert storage.put_if("x", b"1", None)
    elif way == "copy":
        remote.put("w", b"1")
        storage.copy("w", "x")
    else:
        local = storage.scratch() / "x"
        local.write_bytes(b"1")
        storage.move_in(local, "x")
    found = s3.client().head_object(Bucket=remote.bucket, Key="runs/one/x")
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", "alias/corpus")
    remote.put("y", b"1")
    assert s3.client().head_object(Bucket=remote.bucket, Key="runs/one/y").get("ServerSideEncryption") != "aws:kms"


def test_requests_say_who_pays(remote):
    remote.put("t.parquet", _parquet(5000))
    asked = []

    def note(params: dict, model: object, **_: object) -> None:
        asked.append((model.name, params["headers"].get("x-amz-request-payer")))

    events = s3_clients.client_of(os.getpid()).meta.events
    events.register("before-call.s3", note)
    try:
        storage = S3Storage(remote.url, StorageOptions(requester_pays=True))
        with storage.open("t.parquet") as file:
            assert pq.ParquetFile(file).read_row_group(3)["doc_id"][0].as_py() == 3000
        assert [info.path for info in storage.list()] == ["t.parquet"]
        storage.delete("t.parquet")
        storage.delete_tree("")
    finally:
        events.unregister("before-call.s3", note)
    assert {name for name, _ in asked} == {"GetObject", "HeadObject", "ListObjectsV2", "DeleteObject"}
    assert {payer for _, payer in asked} == {"requester"}


def _parquet(rows: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"doc_id": pa.array(range(rows), pa.uint64())}), sink, row_group_size=1000)
    return sink.getvalue().to_pybytes()


class RoleEndpoint(BaseHTTPRequestHandler):
    """Hands out the credentials of a container's role, as a cloud's metadata service does."""

    server: HTTPServer

    def do_GET(self) -> None:
        self.server.asked += 1
        body = json.dumps(self.server.credentials).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("fresh_clients")
def test_credentials_of_an_instance_role_are_found(s3, remote, monkeypatch):
    with HTTPServer(("127.0.0.1", 0), RoleEndpoint) as server:
        server.asked = 0
        server.credentials = s3.role
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/role")
        forget_clients()
        remote.put("x", b"by role")
        assert remote.open("x").read() == b"by role"
        assert server.asked > 0
        server.shutdown()


def test_a_key_needs_its_kind_of_encryption():
    with pytest.raises(ValidationError, match="needs `sse: aws:kms`"):
        ObjectStorage(sse="AES256", kms_key_id="alias/x")
