"""Storage: the same promises on a local folder and on an S3 endpoint, and what an S3 endpoint adds."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from pydantic import ValidationError

from curate.cli import main
from curate.errors import LeaseHeld, WorkspaceError
from curate.recipe import ObjectStorage
from curate.run import s3 as s3_module
from curate.run import s3_clients, s3_listing
from curate.run.lease import LEASE, Lease
from curate.run.s3 import S3Storage
from curate.run.s3_clients import forget_clients
from curate.run.s3_errors import S3Error, explain_error
from curate.run.s3_options import in_force
from curate.run.storage import FileInfo, LocalStorage, Storage, open_storage
from tests.faults.proxy import ELSEWHERE, REFUSALS, FaultyProxy
from tests.s3_server import S3Server, fresh_clients, s3_environment  # noqa: F401


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "workspace")
    server: S3Server = request.getfixturevalue("s3")
    return open_storage(f"s3://{server.new_bucket()}/runs/one")


@pytest.fixture
def remote(s3: S3Server) -> S3Storage:
    return S3Storage(f"s3://{s3.new_bucket()}/runs/one")


# --- the same on both


def test_a_file_is_put_read_replaced_and_deleted(storage):
    assert not storage.exists("a/b.json")
    for data in (b"one", b"", b"two"):
        storage.put("a/b.json", data)
        assert storage.exists("a/b.json")
        assert storage.read("a/b.json") == data
    assert not storage.exists("a")
    storage.delete("a/b.json")
    storage.delete("a/b.json")
    assert not storage.exists("a/b.json")


def test_what_is_not_there_is_a_missing_file(storage):
    storage.put("here/x", b"")
    for path in ("none", "here", "here/none"):
        with pytest.raises((FileNotFoundError, IsADirectoryError)):
            storage.read(path)
        with pytest.raises(FileNotFoundError):
            storage.open(path)


def test_a_local_file_moves_in_and_is_read_at_random(storage):
    local = storage.scratch() / "part"
    table = pa.table({"doc_id": pa.array(range(5000), pa.uint64())})
    pq.write_table(table, local, row_group_size=1000)
    storage.move_in(local, "documents/key/part-0.parquet")
    assert not local.exists()
    with storage.open("documents/key/part-0.parquet") as file:
        assert isinstance(file, pa.NativeFile)
        assert pq.ParquetFile(file).read_row_group(3)["doc_id"][0].as_py() == 3000
    again = storage.scratch() / "again"
    again.write_bytes(b"other")
    storage.move_in(again, "documents/key/part-0.parquet")
    assert storage.read("documents/key/part-0.parquet") == b"other"


def test_a_conditional_put_goes_through_only_over_what_is_expected(storage):
    assert not storage.put_if("run.json", b"1", b"0")
    assert storage.put_if("run.json", b"1", None)
    assert not storage.put_if("run.json", b"2", None)
    assert not storage.put_if("run.json", b"2", b"0")
    assert storage.read("run.json") == b"1"
    assert storage.put_if("run.json", b"2", b"1")
    assert storage.put_if("run.json", b"1", b"2")
    assert storage.read("run.json") == b"1"


@pytest.mark.parametrize("expected", [None, b"before"])
def test_one_of_eight_conditional_puts_wins(storage, expected):
    if expected is not None:
        storage.put("lease", expected)
    barrier = threading.Barrier(8)

    def put(number: int) -> bool:
        barrier.wait()
        return storage.put_if("lease", b"%d" % number, expected)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert storage.read("lease") == b"%d" % won.index(True)


NAMES = [
    "b-c",
    "b.x",
    "b/1",
    "b/10",
    "b/2",
    "b0/1",
    "tail",
    "Ä/ö",
    "ﬁ",
    "\U0001f600",
]  # in the order of their UTF-8 bytes


def test_files_are_listed_in_byte_order_below_a_folder(storage, monkeypatch):
    monkeypatch.setattr(s3_listing, "LIST_KEYS", 3)
    for name in reversed(NAMES):
        storage.put(name, name.encode())
    found = list(storage.list())
    assert [info.path for info in found] == NAMES
    assert [info.size for info in found] == [len(name.encode()) for name in NAMES]
    assert [info.path for info in storage.list("b")] == ["b/1", "b/10", "b/2"]
    assert [info.path for info in storage.list("b/")] == ["b/1", "b/10", "b/2"]
    assert list(storage.list("none")) == []


def test_the_mark_of_a_file_changes_with_its_content(storage):
    storage.put("x", b"one")
    before = list(storage.list())
    storage.put("x", b"two")
    (after,) = storage.list()
    assert after.etag != before[0].etag


def test_a_folder_is_deleted_and_its_neighbours_stay(storage, monkeypatch):
    monkeypatch.setattr(s3_listing, "LIST_KEYS", 3)
    for name in [*(f"tmp/a/{i}" for i in range(8)), "tmp/ab/1", "tmp/b"]:
        storage.put(name, b"x")
    storage.delete_tree("tmp/a")
    storage.delete_tree("tmp/none")
    assert [info.path for info in storage.list()] == ["tmp/ab/1", "tmp/b"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
def test_no_path_leads_out(storage, path):
    for call in (storage.read, storage.open, storage.delete, storage.delete_tree, lambda path: storage.put(path, b"")):
        with pytest.raises(WorkspaceError, match="leads out"):
            call(path)


def test_it_is_writable_and_the_check_leaves_nothing(storage):
    storage.check_writable()
    assert list(storage.list()) == []


def test_a_worker_gets_the_same_storage(storage):
    storage.put("x", b"here")
    data = pickle.dumps(storage)
    assert pickle.loads(data).read("x") == b"here"
    assert os.environ.get("AWS_SECRET_ACCESS_KEY", "?").encode() not in data


def test_one_run_holds_the_lease(storage):
    said: list[str] = []
    lease = Lease(storage, said.append, period_s=5, renew_s=0.05)
    lease.take()
    beat = json.loads(storage.read(LEASE))["beat"]
    with pytest.raises(LeaseHeld, match=str(os.getpid())):
        Lease(storage, said.append).take()
    until = time.monotonic() + 10
    while json.loads(storage.read(LEASE))["beat"] == beat and time.monotonic() < until:
        time.sleep(0.02)
    assert json.loads(storage.read(LEASE))["beat"] > beat
    lease.check()
    lease.release()
    assert not storage.exists(LEASE)


def test_a_lease_that_nobody_renews_is_taken_over(storage):
    said: list[str] = []
    storage.put(
        LEASE, json.dumps({"epoch": 4, "owner": "x", "pid": 1, "born": "0", "host": "elsewhere", "beat": 7}).encode()
    )
    lease = Lease(storage, said.append, period_s=0.2, renew_s=5)
    lease.take()
    assert json.loads(storage.read(LEASE))["epoch"] == 5
    assert "waiting" in said[0]
    lease.release()


# --- S3 alone


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


class CuttingProxy:
    """Hands TCP connections on, and cuts the first ``cuts`` of them after ``after`` bytes of answers."""

    def __init__(self, port: int, cuts: int, after: int) -> None:
        self.left, self._port, self._after = cuts, port, after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._hand_on, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._hand_on, args=(far, near, True), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        total = 0
        try:
            while data := source.recv(65536):
                total += len(data)
                if answers and total > self._after and self.left > 0:
                    self.left -= 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("fresh_clients")
@pytest.mark.parametrize("how", ["read", "open"])
def test_an_answer_that_breaks_off_is_asked_for_again(s3, remote, monkeypatch, how):
    data = os.urandom(1 << 20)
    remote.put("x", data)
    proxy = CuttingProxy(int(s3.endpoint.rpartition(":")[2]), cuts=3, after=300_000)
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        forget_clients()
        assert (remote.read("x") if how == "read" else remote.open("x").read()) == data
        assert proxy.left == 0
    finally:
        proxy.close()


WRONG = {
    "secret": ({"AWS_SECRET_ACCESS_KEY": "wrong-wrong"}, "secret key does not belong"),
    "key": ({"AWS_ACCESS_KEY_ID": "WRONGWRONG"}, "access key is not known"),
    "none": ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no S3 credentials"),
    "half": ({"AWS_SECRET_ACCESS_KEY": None}, "incomplete"),
    "profile": ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE names a profile that does not exist"),
    "endpoint": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        "http://127.0.0.1:1 cannot be reached; check AWS_ENDPOINT_URL",
    ),
    "url": ({"AWS_ENDPOINT_URL": "here"}, "not a valid URL"),
}


@pytest.mark.usefixtures("fresh_clients")
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_are_named_quickly(s3, remote, monkeypatch, wrong):
    variables, message = WRONG[wrong]
    for name, value in variables.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    forget_clients()
    began = time.monotonic()
    for call in (remote.check_writable, lambda: remote.read("run.json"), lambda: remote.filesystem):
        with pytest.raises(WorkspaceError, match=message) as caught:
            call()
        text = str(caught.value)
        assert remote.bucket in text
        assert "\n" not in text
        for secret in (s3.secret_key, s3.access_key, "wrong-wrong", "WRONGWRONG"):
            assert secret not in text
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("fresh_clients")
@pytest.mark.parametrize("where", ["inputs", "workspace"])
@pytest.mark.parametrize("answer", REFUSALS)
def test_a_bucket_in_another_region_ends_a_run_quickly(s3, monkeypatch, tmp_path, capsys, where, answer):
    bucket = s3.new_bucket()
    s3.client().put_object(Bucket=bucket, Key="in/a.jsonl", Body=b'{"text": "one"}\n')
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    inputs = f"s3://{bucket}/in/*.jsonl" if where == "inputs" else f"{tmp_path}/*.jsonl"
    workspace = f"s3://{bucket}/run" if where == "workspace" else f"{tmp_path}/run"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps({"name": "x", "inputs": [{"source": "a", "path": inputs}], "workspace": workspace}))
    with FaultyProxy(s3.endpoint, share=1, faults=(answer,), most_in_a_row=10**9) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        began = time.monotonic()
        assert main(["run", str(recipe)]) == 2
        assert time.monotonic() - began < 10  # what is promised, not how fast it is
    said = capsys.readouterr().err
    assert f"bucket {bucket} lies in another region" in said
    assert "set AWS_REGION" in said
    assert (ELSEWHERE in said) == (answer != "moved_unsaid")
    assert s3.secret_key not in said
    assert s3.access_key not in said


def test_a_bucket_that_does_not_exist_is_named(s3):
    for url in ("s3://no-such-bucket/x", "s3://No_Bucket!"):
        with pytest.raises(WorkspaceError, match=url.split("/")[2]):
            S3Storage(url).check_writable()


@pytest.mark.usefixtures("fresh_clients")
def test_an_endpoint_that_never_answers_is_given_up(remote, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(s3_clients, "CONTACT_S", 0.5)
        forget_clients()
        with pytest.raises(S3Error, match="no answer within"):
            remote.check_writable()


def test_what_went_wrong_later_is_told_by_reading_and_writing(s3, remote):
    remote.put("x", b"x")
    s3.client().delete_object(Bucket=remote.bucket, Key="runs/one/x")
    s3.client().delete_bucket(Bucket=remote.bucket)
    local = remote.scratch() / "kept"
    local.write_bytes(b"x")
    for call in (lambda: remote.put("x", b""), lambda: list(remote.list()), lambda: remote.move_in(local, "x")):
        with pytest.raises(S3Error, match=f"bucket {remote.bucket} does not exist"):
            call()
    assert local.read_bytes() == b"x"
    local.unlink()


def test_errors_are_explained_with_the_object_and_the_remedy():
    def of(code: str, **more: object) -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": "SECRET"}, **more}, "GetObject")

    url = "s3://bucket/key"
    moved = of("PermanentRedirect", ResponseMetadata={"HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}})
    arrow = "When reading information for key 'k' in bucket 'b': AWS Error {} during HeadObject operation: SECRET"
    cases = {
        of("AccessDenied"): "s3:ListBucket",
        of("SlowDown"): "overloaded or failing (SlowDown)",
        of("503"): "overloaded or failing (503)",
        of("ExpiredToken"): "have expired",
        moved: "another region (eu-west-1)",
        of("Odd"): "S3 answered Odd",
        EndpointConnectionError(endpoint_url="http://user:SECRET@host:9/b"): "http://host:9 cannot be reached",
        OSError(arrow.format("ACCESS_DENIED")): "access to bucket bucket was denied",
        OSError(arrow.format("UNKNOWN (HTTP status 301)")): "another region",
        OSError(arrow.format("NETWORK_CONNECTION")): "cannot be reached",
    }
    for error, part in cases.items():
        text = explain_error(error, url)
        assert text.startswith(url)
        assert part in text
        assert "SECRET" not in text


# --- many objects, encryption, who pays, temporary credentials


def test_many_objects_are_listed_in_ranges_side_by_side(s3, remote, monkeypatch):
    names = [f"raw/{folder}/{name}" for folder in ("a", "b", "b-c", "ü", "z") for name in "12345"] + ["raw/0", "raw/~"]
    for name in names:
        remote.put(name, name.encode())
    flat = list(remote.list("raw"))
    assert [info.path for info in flat] == sorted(names, key=str.encode)
    monkeypatch.setattr(s3_listing, "LIST_KEYS", 2)
    assert list(remote.list("raw")) == flat
    assert list(remote.list()) == flat
    monkeypatch.setattr(s3_listing, "LIST_THREADS", 3)
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


@pytest.mark.parametrize("way", ["put", "put_if", "move_in"])
def test_what_is_written_is_encrypted_as_the_recipe_says(s3, remote, way):
    with in_force(ObjectStorage(sse="aws:kms", kms_key_id="alias/corpus")):
        if way == "put":
            remote.put("x", b"1")
        elif way == "put_if":
            assert remote.put_if("x", b"1", None)
        else:
            local = remote.scratch() / "x"
            local.write_bytes(b"1")
            remote.move_in(local, "x")
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
        with in_force(ObjectStorage(requester_pays=True)):
            with remote.open("t.parquet") as file:
                assert pq.ParquetFile(file).read_row_group(3)["doc_id"][0].as_py() == 3000
            assert [info.path for info in remote.list()] == ["t.parquet"]
    finally:
        events.unregister("before-call.s3", note)
    assert {name for name, _ in asked} == {"GetObject", "HeadObject", "ListObjectsV2"}
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
