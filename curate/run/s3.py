"""Storage in S3 and everything that speaks its protocol: ``s3://bucket/prefix``.

Data are read by pyarrow's C++ client (range requests, no Python between the bytes and Parquet); what pyarrow does not
offer goes through boto3: conditional puts, uploads that are aborted when they fail, listing, deleting in batches.
Endpoint, region and credentials come from the environment alone, as boto3 finds them (``AWS_ENDPOINT_URL``,
``AWS_PROFILE``, session tokens, web identity, instance roles); pyarrow is handed what boto3 found, so both agree.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pyarrow.fs
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError

from curate.errors import WorkspaceError
from curate.run.s3_errors import error_code, explain_error
from curate.run.storage import FileInfo

CONTACT_S = 9.0
"""The first contact with a bucket ends after this many seconds, whatever hangs (a name server, a firewall)."""

ATTEMPTS = 8
"""Attempts of one request (botocore's standard mode: backoff with full jitter, at most 20 s between two)."""

PART_BYTES = 16 << 20
"""Larger files are uploaded in parts of this size, several at once (S3 wants at least 5 MiB, at most 10,000 parts)."""

UPLOAD_THREADS = 4
LIST_KEYS = 1000
"""Most keys that one request may list (ListObjectsV2) or delete (DeleteObjects)."""

_MARK = "curate-put"
"""Metadata of a conditional put: tells, when an answer was lost, whether it was this put that went through."""

_BODY_FAULTS = (HTTPClientError, IncompleteReadError, FlexibleChecksumError)
_FAULTS = (BotoCoreError, ClientError, ResponseParserError)

_Result = TypeVar("_Result")
_Keys = list[dict[str, str]]


class S3Error(WorkspaceError, OSError):
    """S3 refused or could not be reached, after all retries; an OSError too, since another try later may work."""


class S3Storage:
    """Objects below ``s3://bucket/prefix``. Holds only the URL: clients are made in each process when first needed."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.bucket, _, prefix = rest.partition("/")
        self.prefix = prefix.strip("/")
        if scheme != "s3" or not self.bucket:
            raise WorkspaceError(f"{url} names no bucket; write s3://bucket/prefix")
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def filesystem(self) -> pa.fs.S3FileSystem:
        """pyarrow's filesystem over the endpoint; its paths begin with the bucket. Pickled, it would carry credentials."""
        with self._explained():
            region = self._contact()
            client = _client(os.getpid())
            credentials = _session(os.getpid()).get_credentials()
            if credentials is None:
                raise NoCredentialsError
            # boto3 renews temporary credentials in time; new ones make a new filesystem.
            frozen = credentials.get_frozen_credentials()
            style = (client.meta.config.s3 or {}).get("addressing_style")
            return _filesystem(
                frozen.access_key,
                frozen.secret_key,
                frozen.token,
                region,
                client.meta.endpoint_url,
                style == "virtual",
                os.getpid(),
            )

    def exists(self, path: str) -> bool:
        try:
            self._head(path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str) -> bytes:
        return self._get(path)[0]

    def open(self, path: str) -> pa.NativeFile:
        key = self._key(path)
        with self._explained(path):
            try:
                return self.filesystem.open_input_file(f"{self.bucket}/{key}")
            except FileNotFoundError:
                raise FileNotFoundError(f"{self.url}/{path}") from None

    def put(self, path: str, data: bytes) -> None:
        client, key = self._client(), self._key(path)
        with self._explained(path):
            client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        client, key, mark = self._client(), self._key(path), uuid.uuid4().hex
        condition = {"IfNoneMatch": "*"}
        for attempt in range(ATTEMPTS):
            if expected is not None:
                try:
                    current, etag = self._get(path)
                except FileNotFoundError:
                    return False
                if current != expected:
                    return attempt > 0 and self._marked(path, mark)
                condition = {"IfMatch": etag}
            with self._explained(path):
                try:
                    client.put_object(Bucket=self.bucket, Key=key, Body=data, Metadata={_MARK: mark}, **condition)
                    return True
                except ClientError as error:
                    code = error_code(error)
                    if code in ("PreconditionFailed", "412", "NoSuchKey", "404"):
                        # A retry of a put whose answer was lost fails on its own success.
                        return self._marked(path, mark)
                    if code not in ("ConditionalRequestConflict", "409"):
                        raise
            _wait(attempt)
        raise S3Error(f"{self.url}/{path}: other writers got in between {ATTEMPTS} times; see what else writes there")

    def scratch(self) -> Path:
        folder = Path(tempfile.gettempdir()) / f"curate-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise WorkspaceError(
                f"temporary folder {folder} belongs to someone else; remove it, or set TMPDIR to another place"
            )
        return folder

    def move_in(self, local: Path, path: str) -> None:
        client, key = self._client(), self._key(path)
        config = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_concurrency=UPLOAD_THREADS,
            preferred_transfer_client="classic",
        )
        # A failed or interrupted upload is aborted; pyarrow's stream would complete it, cut short.
        with self._explained(path), create_transfer_manager(client, config) as manager:
            manager.upload(str(local), self.bucket, key).result()
        local.unlink()

    def delete(self, path: str) -> None:
        client, key = self._client(), self._key(path)
        with self._explained(path):
            client.delete_object(Bucket=self.bucket, Key=key)

    def delete_tree(self, prefix: str) -> None:
        batch: _Keys = []
        for key, _, _ in self._objects(prefix):
            batch.append({"Key": key})
            if len(batch) == LIST_KEYS:
                self._delete_keys(batch)
                batch = []
        if batch:
            self._delete_keys(batch)

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every object below the folder ``prefix``, sorted by path as UTF-8 bytes; or the one object of that name."""
        start = len(self._folder(""))
        found = [
            FileInfo(key[start:], size, etag) for key, size, etag in self._objects(prefix) if not key.endswith("/")
        ]
        if not found and prefix and not prefix.endswith("/"):
            try:
                answer = self._head(prefix)
                found = [FileInfo(prefix, int(answer["ContentLength"]), str(answer["ETag"]).strip('"'))]
            except FileNotFoundError:
                pass
        # Sorted by S3 itself, but for some endpoints and directory buckets.
        yield from sorted(found, key=lambda info: info.path.encode("utf-8", "surrogateescape"))

    def check_writable(self) -> None:
        """Raise S3Error (a WorkspaceError), naming the bucket and the remedy, in at most 10 s."""
        _within(CONTACT_S, self.url, self._probe)

    # --- requests

    def _key(self, path: str) -> str:
        if not path or path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise WorkspaceError(f"{path!r} leads out of {self.url}; the workspace is damaged or was tampered with")
        return f"{self.prefix}/{path}" if self.prefix else path

    def _folder(self, prefix: str) -> str:
        key = self._key(prefix.rstrip("/")) if prefix else self.prefix
        return f"{key}/" if key else ""

    @contextmanager
    def _explained(self, path: str = "") -> Iterator[None]:
        url = f"{self.url}/{path}".rstrip("/")
        try:
            yield
        except _FAULTS as error:
            if path and error_code(error) in ("NoSuchKey", "404"):
                raise FileNotFoundError(url) from None
            raise S3Error(explain_error(error, url)) from None
        except OSError as error:
            if isinstance(error, FileNotFoundError) or "AWS Error" not in str(error):
                raise
            raise S3Error(explain_error(error, url)) from None

    def _contact(self) -> str:
        """Region of the bucket; the first call in a process fails quickly and clearly."""
        return _contact(self.bucket, self.prefix, os.getpid())

    def _client(self) -> Any:
        self._contact()
        return _client(os.getpid())

    def _get(self, path: str) -> tuple[bytes, str]:
        """(content, ETag) of an object; a body that breaks off is asked for again, which botocore leaves to its caller."""
        client, key = self._client(), self._key(path)
        with self._explained(path):
            for attempt in range(ATTEMPTS):
                answer = client.get_object(Bucket=self.bucket, Key=key)
                try:
                    return answer["Body"].read(), answer["ETag"]
                except _BODY_FAULTS:
                    if attempt == ATTEMPTS - 1:
                        raise
                _wait(attempt)
        raise AssertionError("unreachable")

    def _head(self, path: str) -> dict[str, Any]:
        client, key = self._client(), self._key(path)
        with self._explained(path):
            answer: dict[str, Any] = client.head_object(Bucket=self.bucket, Key=key)
        return answer

    def _marked(self, path: str, mark: str) -> bool:
        try:
            return bool(self._head(path)["Metadata"].get(_MARK) == mark)
        except FileNotFoundError:
            return False

    def _objects(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        client = self._client()
        with self._explained():
            for page in client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._folder(prefix)
            ):
                for item in page.get("Contents", []):
                    yield item["Key"], item["Size"], item["ETag"].strip('"')

    def _delete_keys(self, batch: _Keys) -> None:
        with self._explained():
            answer = self._client().delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
            if errors := answer.get("Errors"):
                raise ClientError({"Error": {"Code": errors[0].get("Code", "")}}, "DeleteObjects")

    def _probe(self) -> None:
        self._contact()
        client = _client(os.getpid(), quick=True)
        key = self._key(f"tmp/probe-{uuid.uuid4().hex}")
        with self._explained():
            created = 0
            for _ in range(2):
                try:
                    client.put_object(Bucket=self.bucket, Key=key, Body=b"", IfNoneMatch="*")
                    created += 1
                except ClientError as error:
                    if error_code(error) not in ("PreconditionFailed", "412"):
                        raise
            client.delete_object(Bucket=self.bucket, Key=key)
        if created == 2:
            raise S3Error(
                f"{self.url}: the endpoint ignores conditional puts (If-None-Match), so two runs could overwrite each other; "
                "use an endpoint that has them"
            )


@lru_cache(maxsize=1)
def _session(pid: int) -> Any:
    return boto3.session.Session()


@lru_cache(maxsize=2)
def _client(pid: int, quick: bool = False) -> Any:
    """A client of this process; ``quick`` for the first contact, when a wrong setting is likelier than a bad network."""
    session = _session(pid)
    config = Config(
        connect_timeout=3 if quick else 5,
        read_timeout=4 if quick else 60,
        retries={"mode": "standard", "total_max_attempts": 3 if quick else ATTEMPTS},
        max_pool_connections=32,
        tcp_keepalive=True,
    )
    return session.client("s3", config=config)


@lru_cache(maxsize=64)
def _contact(bucket: str, prefix: str, pid: int) -> str:
    """Region of the bucket, once per process.

    Raises:
        S3Error: within CONTACT_S seconds, when the bucket cannot be used at all.
    """
    url = f"s3://{bucket}/{prefix}".rstrip("/")

    def ask() -> str:
        try:
            client = _client(pid, quick=True)
            region = str(client.meta.region_name or "us-east-1")
            answer = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", MaxKeys=1)
        except ClientError as error:
            if error_code(error) != "AccessDenied":
                raise S3Error(explain_error(error, url)) from None
            # Reading or writing may be allowed where listing is not.
            answer = error.response
        except (*_FAULTS, ValueError) as error:
            raise S3Error(explain_error(error, url)) from None
        return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", region))

    return _within(CONTACT_S, url, ask)


@lru_cache(maxsize=2)
def _filesystem(
    access_key: str, secret_key: str, token: str | None, region: str, endpoint: str, virtual: bool, pid: int
) -> pa.fs.S3FileSystem:
    parts = urlsplit(endpoint)
    own = parts.hostname or ""
    options: dict[str, Any] = {}
    if not (own.startswith("s3.") and own.endswith((".amazonaws.com", ".amazonaws.com.cn"))):
        options |= {"endpoint_override": parts.netloc + parts.path.rstrip("/"), "force_virtual_addressing": virtual}
    if parts.scheme == "https" and (bundle := os.environ.get("AWS_CA_BUNDLE")):
        options["tls_ca_file_path"] = bundle
    return pa.fs.S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        session_token=token,
        region=region,
        scheme=parts.scheme,
        connect_timeout=5,
        request_timeout=60,
        retry_strategy=pa.fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        **options,
    )


def forget_clients() -> None:
    """Drop this process's clients, so that a changed environment (endpoint, credentials) is looked at again."""
    for cache in (_session, _client, _contact, _filesystem):
        cache.cache_clear()


def _within(seconds: float, url: str, function: Callable[[], _Result]) -> _Result:
    """The function's result; S3Error when it takes longer. Name resolution has no timeout of its own, hence a thread."""
    future: Future[_Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="s3-contact", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        raise S3Error(
            f"{url}: no answer within {seconds:.0f} s; check AWS_ENDPOINT_URL, the name server and whether this machine may reach it"
        ) from None


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))  # only when, never what: not part of any result
