"""An S3 endpoint for tests: moto's server in a process of its own, over HTTP, with credentials that are enforced.

``python tests/s3_server.py`` serves until its standard input closes, so it ends with the process that started it,
however that one ends.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest

REGION = "us-east-1"
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class S3Server:
    """A running endpoint and the credentials of the one user it knows."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    process: subprocess.Popen[str] = field(repr=False)
    role: dict[str, str] = field(repr=False)
    """Temporary credentials of a role, as an instance role's endpoint hands them out."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which every client finds the endpoint and may use it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def client(self, service: str = "s3"):
        """A boto3 client of the endpoint."""
        return _client(service, self.endpoint, self.access_key, self.secret_key)

    def new_bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{next(_NUMBERS)}"
        self.client().create_bucket(Bucket=name)
        return name


@functools.cache
def _client(service: str, endpoint: str, access_key: str, secret_key: str):
    session = boto3.session.Session(access_key, secret_key, region_name=REGION)
    return session.client(service, endpoint_url=endpoint)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server of its own, gone afterwards."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            endpoint = process.stdout.readline().strip()
            if not endpoint:
                raise RuntimeError("the S3 server did not start; is moto[server] installed?")
            iam = _client("iam", endpoint, "any", "any")  # before the lock is put in, any key opens
            iam.create_user(UserName="tester")
            allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
            iam.put_user_policy(UserName="tester", PolicyName="s3", PolicyDocument=json.dumps(allowed))
            key = iam.create_access_key(UserName="tester")["AccessKey"]
            sts = _client("sts", endpoint, "any", "any")
            role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
            iam.put_role_policy(RoleName="worker", PolicyName="s3", PolicyDocument=json.dumps(allowed))
            taken = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
            temporary = {
                "AccessKeyId": taken["AccessKeyId"],
                "SecretAccessKey": taken["SecretAccessKey"],
                "Token": taken["SessionToken"],
                "Expiration": "2099-01-01T00:00:00Z",
            }
            lock = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
            urllib.request.urlopen(lock, timeout=10).close()
            yield S3Server(endpoint, key["AccessKeyId"], key["SecretAccessKey"], process, temporary)
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@functools.cache
def shared_server() -> S3Server:
    """The one server of this test session; it ends with the session's process."""
    from curate.storage.s3_clients import forget_clients

    forget_clients()
    manager = s3_server()
    atexit.register(manager.__exit__, None, None, None)
    return manager.__enter__()


@pytest.fixture(name="s3")
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The endpoint, with the environment set so that the code under test finds it."""
    server = shared_server()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def fresh_clients(s3: S3Server) -> Iterator[None]:
    """For tests that change the environment: no client is taken over from the test before, none is left behind."""
    from curate.storage.s3_clients import forget_clients  # not above: the server's own process does without

    forget_clients()
    yield
    forget_clients()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    moto = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()

    def application(environ, start_response):
        # moto looks at the object, then writes it: without the lock, two conditional puts could both go through.
        conditional = environ["REQUEST_METHOD"] == "PUT" and {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"} & environ.keys()
        with one_at_a_time if conditional else nullcontext():
            return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
