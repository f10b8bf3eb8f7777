"""Options of a storage, such as S3 encryption and requester-pays. They travel with the storage to every worker.

Credentials are no options: they never pass through here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from curate.base.errors import RunError


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """How a storage is read and written; local folders ignore it.

    Attributes:
        requester_pays: this account pays for requests to buckets of others.
        sse: how the server encrypts new objects, as S3 names it (``aws:kms``); None: as the bucket is set up.
        kms_key_id: key of ``aws:kms`` encryption; None: the bucket's own.
    """

    requester_pays: bool = False
    sse: str | None = None
    kms_key_id: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> StorageOptions:
        """The defaults that the user has set in the environment."""
        return cls(
            requester_pays=os.environ.get("CURATE_S3_REQUESTER_PAYS", "").lower() in ("1", "true", "yes"),
            sse=os.environ.get("CURATE_S3_SSE") or None,
            kms_key_id=os.environ.get("CURATE_S3_KMS_KEY_ID") or None,
        )

    def override(self, section: object) -> StorageOptions:
        """These options, with those that a recipe's section ``storage`` sets; anything else in the section is ignored."""
        if not isinstance(section, Mapping):
            return self
        known = {one.name for one in fields(self)}
        return replace(self, **{name: value for name, value in section.items() if name in known})


NO_OPTIONS = StorageOptions()


class DiskError(RunError, OSError):
    """A disk refused to read or write. Also an OSError, since a later try may succeed."""


class FileInfo(NamedTuple):
    """A listed file.

    Attributes:
        path: below the storage's root, '/'-separated.
        size: bytes.
        etag: differs once the content differs.
    """

    path: str
    size: int
    etag: str


class Storage(Protocol):
    """Files below one URL. Instances are small, hold no credentials, and can be pickled to workers."""

    url: str
    options: StorageOptions
    """Open other URLs with the same ones: ``open_storage(url, storage.options)``."""

    def exists(self, path: str) -> bool:
        """Whether the file exists."""

    def read(self, path: str) -> bytes:
        """The whole file; FileNotFoundError if it does not exist."""

    def open(self, path: str, size: int | None = None) -> pa.NativeFile:
        """The file for random access; FileNotFoundError if it does not exist.

        With ``size``, its known number of bytes, no request is sent before the first read, so a missing file may be
        noticed only then.
        """

    def put(self, path: str, data: bytes) -> None:
        """Write a small file; an existing one is replaced."""

    def put_if(self, path: str, data: bytes, expected: bytes | None) -> bool:
        """Write a small file only if it holds ``expected`` (None: only if it does not exist). Returns whether it did."""

    def scratch(self) -> Path:
        """A local folder from which :meth:`move_in` is cheapest."""

    def move_in(self, local: Path, path: str) -> None:
        """Move a local file to ``path``, where it appears whole or not at all."""

    def copy(self, path: str, to: str) -> None:
        """Copy the file at ``path`` to ``to``, if possible without moving bytes through this process."""

    def delete(self, path: str) -> None:
        """Remove a file, if it exists."""

    def delete_tree(self, prefix: str) -> None:
        """Remove every file below a folder."""

    def list(self, prefix: str = "") -> Iterator[FileInfo]:
        """Every file below ``prefix``, sorted by path as UTF-8 bytes."""

    def unfinished(self) -> Iterator[str]:
        """Paths of unfinished uploads: no listing shows them, yet they are paid for."""

    def abandon(self, path: str) -> None:
        """Abort the unfinished uploads to ``path``."""

    def check_writable(self) -> None:
        """Raise WorkspaceError, naming the place and the remedy, when nothing can be written."""
