"""Objects of a bucket: listing them and unfinished uploads, reading one by range requests."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

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
