"""What goes wrong with an S3 endpoint is tried again, or named with the remedy."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from curate.base.errors import WorkspaceError
from curate.cli import main
from curate.storage import s3_clients
from curate.storage.s3 import S3Storage
from curate.storage.s3_clients import forget_clients
from curate.storage.s3_errors import S3Error, explain_error
from tests.faults.proxy import ELSEWHERE, REFUSALS, FaultyProxy
from tests.s3_server import S3Server, fresh_clients, s3_environment  # noqa: F401


@pytest.fixture
def remote(s3: S3Server) -> S3Storage:
    return S3Storage(f"s3://{s3.new_bucket()}/runs/one")


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
