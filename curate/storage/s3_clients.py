"""Clients of S3, one set for each process: boto3's session, its clients, pyarrow's filesystem, and how often they try.

Endpoint, region and credentials come from the environment alone, as boto3 finds them (``AWS_ENDPOINT_URL``,
``AWS_PROFILE``, session tokens, web identity, instance roles); pyarrow is handed what boto3 found, so both agree.
"""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError as BrokenConnection

from curate.storage.interface import StorageOptions
from curate.storage.s3_errors import S3Error, error_code, explain_error
from curate.storage.usage import count_get, count_put

CONTACT_S = 9.0
"""The first contact with a bucket ends after this many seconds, whatever hangs (a name server, a firewall)."""

ATTEMPTS = 8
"""Attempts of one request (botocore's standard mode: backoff with full jitter, at most 20 s between two)."""

FAULTS = (BotoCoreError, ClientError, ResponseParserError, BrokenConnection)
BODY_FAULTS = (HTTPClientError, IncompleteReadError, FlexibleChecksumError, BrokenConnection)
"""What reading a body raises when it breaks off."""

_Result = TypeVar("_Result")


@lru_cache(maxsize=1)
def session(pid: int) -> Any:
    """boto3's session of this process."""
    return boto3.session.Session()


@lru_cache(maxsize=2)
def client_of(pid: int, quick: bool = False) -> Any:
    """A client of this process; ``quick`` for the first contact, when a wrong setting is likelier than a bad network."""
    config = Config(
        connect_timeout=3 if quick else 5,
        read_timeout=4 if quick else 60,
        retries={"mode": "standard", "total_max_attempts": 3 if quick else ATTEMPTS},
        max_pool_connections=32,
        tcp_keepalive=True,
    )
    client = session(pid).client("s3", config=config)
    client.meta.events.register("before-send.s3.CreateMultipartUpload", _note_beginning)
    client.meta.events.register("before-send.s3", _count)
    return client


def _count(request: Any, **_: Any) -> None:
    """Note a request as it goes out, every try of it: what the endpoint sees, and may bill."""
    query = urlsplit(request.url).query
    if request.method in ("GET", "HEAD") and not any(name in query for name in _LISTS):
        count_get()
    elif request.method != "DELETE" and not query.startswith("delete"):  # those cost nothing
        count_put()


_LISTS = ("list-type=", "uploads")
"""What a listing is told by; S3 bills it like a put."""


_BEGUN: list[str] = []
"""URLs of this process's requests to begin an upload in parts, every try."""


def _note_beginning(request: Any, **_: Any) -> None:
    _BEGUN.append(str(request.url))


def uploads_begun() -> int:
    """Requests so far to begin an upload in parts. One whose answer was lost has begun an upload that nobody knows of."""
    return len(_BEGUN)


def payer_of(options: StorageOptions) -> dict[str, str]:
    """Arguments of every request that say who pays for it."""
    return {"RequestPayer": "requester"} if options.requester_pays else {}


def encryption_of(options: StorageOptions) -> dict[str, str]:
    """Arguments of every request that writes an object."""
    arguments = {}
    if options.sse:
        arguments["ServerSideEncryption"] = options.sse
        if options.kms_key_id and options.sse.startswith("aws:kms"):
            arguments["SSEKMSKeyId"] = options.kms_key_id
    return arguments


@lru_cache(maxsize=64)
def contact(bucket: str, prefix: str, options: StorageOptions, pid: int) -> str:
    """Region of the bucket, asked for once in each process.

    Raises:
        S3Error: within CONTACT_S seconds, if the bucket cannot be used at all.
    """
    url = f"s3://{bucket}/{prefix}".rstrip("/")

    def ask() -> str:
        try:
            client = client_of(pid, quick=True)
            region = str(client.meta.region_name or "us-east-1")
            folder = f"{prefix}/" if prefix else ""
            asked = {"Bucket": bucket, "Prefix": folder, "MaxKeys": 1, **payer_of(options)}
            answer = until_whole(lambda: client.list_objects_v2(**asked))
        except ClientError as error:
            if error_code(error) != "AccessDenied":
                raise S3Error(explain_error(error, url)) from None
            # Reading or writing may be allowed where listing is not.
            answer = error.response
        except (*FAULTS, ValueError, RecursionError) as error:
            raise S3Error(explain_error(error, url)) from None
        return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", region))

    return within(CONTACT_S, url, ask)


@lru_cache(maxsize=2)
def filesystem(
    access_key: str, secret_key: str, token: str | None, region: str, endpoint: str, virtual: bool, pid: int
) -> pyarrow.fs.S3FileSystem:
    """pyarrow's filesystem for these credentials; temporary ones that were renewed make a new one."""
    parts = urlsplit(endpoint)
    own = parts.hostname or ""
    options: dict[str, Any] = {}
    if not (own.startswith("s3.") and own.endswith((".amazonaws.com", ".amazonaws.com.cn"))):
        options |= {"endpoint_override": parts.netloc + parts.path.rstrip("/"), "force_virtual_addressing": virtual}
    if parts.scheme == "https" and (bundle := os.environ.get("AWS_CA_BUNDLE")):
        options["tls_ca_file_path"] = bundle
    return pyarrow.fs.S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        session_token=token,
        region=region,
        scheme=parts.scheme,
        connect_timeout=5,
        request_timeout=60,
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        **options,
    )


def forget_clients() -> None:
    """Drop this process's clients, so that a changed environment (endpoint, credentials) is looked at again."""
    for cache in (session, client_of, contact, filesystem):
        cache.cache_clear()


def until_whole(ask: Callable[[], _Result], faults: tuple[type[Exception], ...] = (BrokenConnection,)) -> _Result:
    """The result of ``ask``, called again when the connection breaks in the middle of an answer.

    botocore tries a request again that gets no answer or a bad one, but not one whose answer ends early.
    """
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except faults:
            if attempt == ATTEMPTS - 1:
                raise
        wait(attempt)
    raise AssertionError("unreachable")


def within(seconds: float, url: str, function: Callable[[], _Result]) -> _Result:
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


def wait(attempt: int) -> None:
    """Sleep before the next attempt: exponential backoff with full jitter."""
    time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))  # only when, never what: not part of any result


LIST_KEYS = 1000
"""Most keys that one request may list (ListObjectsV2) or delete (DeleteObjects)."""

LIST_THREADS = 16
"""Ranges of keys that are listed at the same time (each gives about 5,000 to 10,000 keys a second)."""

Ask = Callable[..., Any]
"""Sends one request for the bucket: ``ask("list_objects_v2", Prefix=…)``."""


class Object(NamedTuple):
    """One object: its whole key, its size in bytes, its ETag."""

    key: str
    size: int
    etag: str


def objects(ask: Ask, folder: str, *, is_sorted: bool = True) -> list[Object]:
    """Every object whose key begins with ``folder``. If one page does not hold all, ranges of keys are listed in parallel.

    Args:
        is_sorted: the bucket lists keys in byte order, so that ranges can be requested.
    """
    first = _page(ask, folder, "")
    if not first.get("IsTruncated"):
        return _objects_of(first)
    if not is_sorted:
        return list(keys_between(ask, folder))
    bounds = _bounds(ask, folder)
    with ThreadPoolExecutor(LIST_THREADS) as pool:
        parts = pool.map(
            lambda pair: list(keys_between(ask, folder, *pair)), zip(bounds, [*bounds[1:], None], strict=True)
        )
        return [item for part in parts for item in part]


def keys_between(ask: Ask, folder: str, after: str = "", before: str | None = None) -> Iterator[Object]:
    """Objects below ``folder`` with ``after`` < key <= ``before`` in byte order, page by page."""
    token: dict[str, str] = {}
    while True:
        answer = _page(ask, folder, after, **token)
        for item in _objects_of(answer):
            if before is not None and item.key.encode() > before.encode():
                return
            yield item
        if not answer.get("IsTruncated"):
            return
        token = {"ContinuationToken": answer["NextContinuationToken"]}


def _bounds(ask: Ask, folder: str) -> list[str]:
    """Keys that divide the objects below ``folder`` into at most LIST_THREADS ranges; the first is empty."""
    while True:
        answer = _page(ask, folder, "", Delimiter="/")
        folders = [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]
        if len(folders) != 1 or answer.get("IsTruncated"):
            break
        folder = folders[0]
    inner = folders[1:]
    return ["", *inner[:: max(1, -(-len(inner) // (LIST_THREADS - 1)))]]


def uploads(ask: Ask, prefix: str) -> list[tuple[str, str]]:
    """(key, upload id) of multipart uploads below ``prefix`` that were neither completed nor aborted."""
    found: list[tuple[str, str]] = []
    marker: dict[str, str] = {}
    while True:
        answer = ask("list_multipart_uploads", Prefix=prefix, **marker)
        found += [(upload["Key"], upload["UploadId"]) for upload in answer.get("Uploads", [])]
        if not answer.get("IsTruncated"):
            return found
        marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def _page(ask: Ask, folder: str, after: str, **more: str) -> dict[str, Any]:
    start = {"StartAfter": after} if after else {}
    answer: dict[str, Any] = ask("list_objects_v2", Prefix=folder, MaxKeys=LIST_KEYS, **start, **more)
    return answer


def _objects_of(answer: dict[str, Any]) -> list[Object]:
    return [Object(item["Key"], item["Size"], item["ETag"].strip('"')) for item in answer.get("Contents", [])]


class RangeFile(io.RawIOBase):
    """An object for random access; every read is one range request."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range, self._size, self._at = read_range, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def size(self) -> int:
        """Bytes of the object."""
        return self._size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._at, 0)
        size = left if size < 0 else min(size, left)
        data = self._read_range(self._at, size) if size else b""
        self._at += len(data)
        return data
