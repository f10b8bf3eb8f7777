"""Storage in S3 and everything that speaks its protocol: ``s3://bucket/prefix``.

Inputs are read by pyarrow's C++ client, which asks for their size first (its retries are not counted). boto3 reads the
files of a workspace, whose sizes are known, and does what pyarrow does not offer: requester-pays, conditional puts,
uploads that are aborted if they fail, listing, deleting in batches; each request is counted as it goes out.
An answer that breaks off is requested again, and a put whose answer was lost is recognised.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.exceptions import ClientError, NoCredentialsError

from curate.base.errors import WorkspaceError
from curate.storage import s3_clients
from curate.storage.interface import NO_OPTIONS, FileInfo, StorageOptions
from curate.storage.s3_clients import (
    ATTEMPTS,
    BODY_FAULTS,
    FAULTS,
    RangeFile,
    client_of,
    contact,
    encryption_of,
    payer_of,
    until_whole,
    wait,
)
from curate.storage.s3_errors import S3Error, error_code, explain_error
from curate.storage.usage import count_get, count_put, counted

PART_BYTES = 16 << 20
"""Larger files are uploaded in parts of this size, several at once (S3 wants at least 5 MiB, at most 10,000 parts)."""

UPLOAD_THREADS = 4

_MARK = "curate-put"
"""Metadata of a conditional put. If its answer is lost, it tells whether this put succeeded."""


class S3Storage:
    """Objects below ``s3://bucket/prefix``. Each process makes its clients when it first needs them."""

    def __init__(self, url: str, options: StorageOptions = NO_OPTIONS) -> None:
        scheme, _, rest = url.partition("://")
        self.bucket, _, prefix = rest.partition("/")
        self.prefix = prefix.strip("/")
        if scheme != "s3" or not self.bucket:
            raise WorkspaceError(f"{url} names no bucket; write s3://bucket/prefix")
        if "//" in self.prefix:
            raise WorkspaceError(f"{url} holds an empty folder name (//); write it with single slashes")
        self.url = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self.options = options

    @property
    def filesystem(self) -> pa.fs.FileSystem:
        """A filesystem of pyarrow whose paths begin with the bucket. Do not pickle it: it may hold credentials."""
        if self.options.requester_pays:  # pyarrow's own client cannot say so
            return pa.fs.PyFileSystem(_ReadHandler(S3Storage(f"s3://{self.bucket}", self.options)))
        return self._pyarrow_client

    @property
    def _pyarrow_client(self) -> pa.fs.S3FileSystem:
        with self._explained():
            region = self._contact()
            client = client_of(os.getpid())
            credentials = s3_clients.session(os.getpid()).get_credentials()
            if credentials is None:
                raise NoCredentialsError
            # boto3 renews temporary credentials in time; renewed ones make a new filesystem.
            frozen = credentials.get_frozen_credentials()
            style = (client.meta.config.s3 or {}).get("addressing_style")
            return s3_clients.filesystem(
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

    def open(self, path: str, size: int | None = None) -> pa.NativeFile:
        key = self._key(path)
        with self._explained(path):
            # pyarrow asks for the size, cannot say who pays, and refuses keys with empty parts.
            if size is not None or self.options.requester_pays or "//" in key:
                size = self.size(path) if size is None else size
                return pa.PythonFile(RangeFile(partial(self.read_range, path), size), "r")
            try:
                return counted(self._pyarrow_client.open_input_file(f"{self.bucket}/{key}"))
            except FileNotFoundError:
                raise FileNotFoundError(f"{self.url}/{path}") from None

    def put(self, path: str, data: bytes) -> None:
        with self._explained(path):
            self._ask("put_object", Key=self._key(path), Body=data, **encryption_of(self.options))

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        key, mark = self._key(path), uuid.uuid4().hex
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
                    arguments = {"Body": data, "Metadata": {_MARK: mark}, **condition, **encryption_of(self.options)}
                    self._ask("put_object", Key=key, **arguments)
                    return True
                except ClientError as error:
                    code = error_code(error)
                    if code in ("PreconditionFailed", "412", "NoSuchKey", "404"):
                        # A retry of a put whose answer was lost fails on its own success.
                        return self._marked(path, mark)
                    if code not in ("ConditionalRequestConflict", "409"):
                        raise
            wait(attempt)
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

        def upload() -> None:
            # A failed or interrupted upload is aborted; pyarrow's stream would complete it, cut short.
            with create_transfer_manager(client, config) as manager:
                manager.upload(str(local), self.bucket, key, extra_args=self._transfer).result()

        size, begun = local.stat().st_size, s3_clients.uploads_begun()
        with self._explained(path):
            until_whole(upload)
        if s3_clients.uploads_begun() > begun + 1:  # the answer to a first try was lost; its upload would be paid for
            with suppress(S3Error):  # without the right to list uploads, which `clean` needs, too
                self.abandon(path)
        count_put(size, requests=0)
        local.unlink()

    def copy(self, path: str, to: str) -> None:
        client, source = self._client(), {"Bucket": self.bucket, "Key": self._key(path)}
        with self._explained(path):
            until_whole(lambda: client.copy(source, self.bucket, self._key(to), ExtraArgs=self._transfer))

    def delete(self, path: str) -> None:
        with self._explained(path):
            self._ask("delete_object", Key=self._key(path))

    def delete_tree(self, prefix: str) -> None:
        with self._explained():
            keys = (found.key for found in s3_clients.keys_between(self._ask, self._folder(prefix)))
            while batch := [{"Key": key} for key in islice(keys, s3_clients.LIST_KEYS)]:
                answer = self._ask("delete_objects", Delete={"Objects": batch, "Quiet": True})
                if errors := answer.get("Errors"):
                    raise ClientError({"Error": {"Code": errors[0].get("Code", "")}}, "DeleteObjects")

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every object below the folder ``prefix``, sorted by path as UTF-8 bytes; or the one object of that name."""
        start = len(self._folder(""))
        with self._explained():
            objects = s3_clients.objects(self._ask, self._folder(prefix), is_sorted=not self.bucket.endswith("--x-s3"))
        found = [FileInfo(key[start:], size, etag) for key, size, etag in objects if not key.endswith("/")]
        if not found and prefix and not prefix.endswith("/"):
            with suppress(FileNotFoundError):
                answer = self._head(prefix)
                found = [FileInfo(prefix, int(answer["ContentLength"]), str(answer["ETag"]).strip('"'))]
        # Sorted by S3 itself, but for some endpoints and directory buckets.
        yield from sorted(found, key=lambda info: info.path.encode("utf-8", "surrogateescape"))

    def unfinished(self) -> Iterator[str]:
        start = len(self._folder(""))
        with self._explained():
            try:
                uploads = s3_clients.uploads(self._ask, self._folder(""))
            except ClientError as error:
                if error_code(error) not in ("AccessDenied", "403", "NotImplemented", "MethodNotAllowed", "405"):
                    raise
                return  # `clean` also works without the right to list them
        yield from (key[start:] for key, _ in uploads)

    def abandon(self, path: str) -> None:
        wanted = self._key(path)
        with self._explained(path):
            for key, upload in s3_clients.uploads(self._ask, wanted):
                if key != wanted:
                    continue
                try:
                    self._ask("abort_multipart_upload", Key=key, UploadId=upload)
                except ClientError as error:
                    if error_code(error) not in ("NoSuchUpload", "404"):  # aborted already: the answer was lost
                        raise

    def check_writable(self) -> None:
        """Raise S3Error (a WorkspaceError), naming the bucket and the remedy, in at most 10 s."""
        s3_clients.within(s3_clients.CONTACT_S, self.url, self._probe)

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
        except FAULTS as error:
            if path and error_code(error) in ("NoSuchKey", "404"):
                raise FileNotFoundError(url) from None
            raise S3Error(explain_error(error, url)) from None
        except OSError as error:
            if isinstance(error, FileNotFoundError) or "AWS Error" not in str(error):
                raise
            raise S3Error(explain_error(error, url)) from None

    def _contact(self) -> str:
        """Region of the bucket; if it cannot be used, the first call in a process fails within seconds."""
        return contact(self.bucket, self.prefix, self.options, os.getpid())

    @property
    def _transfer(self) -> dict[str, str]:
        """Arguments of uploads and copies."""
        return payer_of(self.options) | encryption_of(self.options)

    def _client(self) -> Any:
        self._contact()
        return client_of(os.getpid())

    def _ask(self, operation: str, **arguments: Any) -> Any:
        ask = getattr(self._client(), operation)
        answer = until_whole(lambda: ask(Bucket=self.bucket, **payer_of(self.options), **arguments))
        count_put(len(arguments.get("Body", b"")), requests=0)
        return answer

    def _get(self, path: str, **arguments: str) -> tuple[bytes, str]:
        """(content, ETag) of an object."""
        client = self._client()
        arguments = {"Bucket": self.bucket, "Key": self._key(path), **payer_of(self.options), **arguments}

        def get() -> tuple[bytes, str]:
            answer = client.get_object(**arguments)
            data = answer["Body"].read()
            count_get(len(data), requests=0)
            return data, answer["ETag"]

        with self._explained(path):
            return until_whole(get, BODY_FAULTS)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """``length`` bytes of an object from ``start`` (fewer at its end)."""
        return self._get(path, Range=f"bytes={start}-{start + length - 1}")[0]

    def size(self, path: str) -> int:
        """Bytes of an object; FileNotFoundError if it does not exist."""
        return int(self._head(path)["ContentLength"])

    def _head(self, path: str) -> dict[str, Any]:
        with self._explained(path):
            return self._ask("head_object", Key=self._key(path))

    def _marked(self, path: str, mark: str) -> bool:
        try:
            return bool(self._head(path)["Metadata"].get(_MARK) == mark)
        except FileNotFoundError:
            return False

    def _probe(self) -> None:
        self._contact()
        client = client_of(os.getpid(), quick=True)
        key, created = self._key(f"tmp/probe-{uuid.uuid4().hex}"), 0

        def create() -> bool:
            try:
                client.put_object(Bucket=self.bucket, Key=key, Body=b"", IfNoneMatch="*", **self._transfer)
            except ClientError as error:
                if error_code(error) not in ("PreconditionFailed", "412"):
                    raise
                return False
            return True

        with self._explained():
            for _ in range(2):
                created += until_whole(create)
            until_whole(lambda: client.delete_object(Bucket=self.bucket, Key=key, **payer_of(self.options)))
        if created == 2:
            raise S3Error(
                f"{self.url}: the endpoint ignores conditional puts (If-None-Match), so two runs could overwrite each other; "
                "use an endpoint that has them"
            )


class _ReadHandler(pyarrow.fs.FileSystemHandler):
    """Lets pyarrow read the objects of a bucket through :class:`S3Storage`; its paths begin with the bucket."""

    def __init__(self, bucket: S3Storage) -> None:
        self._bucket = bucket

    def _key(self, path: str) -> str:
        return path.partition("/")[2]

    def get_type_name(self) -> str:
        return "curate-s3"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pyarrow.fs.FileInfo]:
        kind, size = pyarrow.fs.FileType.File, self._bucket.size
        return [pyarrow.fs.FileInfo(path, kind, size=size(self._key(path))) for path in paths]

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self._bucket.open(self._key(path))

    open_input_stream = open_input_file

    def _refuse(self, *_: object) -> Any:
        raise NotImplementedError("only single files are read through this filesystem")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
