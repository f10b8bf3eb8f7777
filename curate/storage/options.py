"""What S3 is asked for besides the object itself: who pays for reading, and how what is written is encrypted.

Kept in environment variables, so that users may set them there and every worker process has what the driver has. The
recipe's section ``storage`` sets them for a run. Credentials are no options: they never pass through here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.recipe import ObjectStorage

REQUESTER_PAYS = "CURATE_S3_REQUESTER_PAYS"
SSE = "CURATE_S3_SSE"
KMS_KEY_ID = "CURATE_S3_KMS_KEY_ID"


def environment() -> dict[str, str]:
    """The options in force, for the environment of worker processes."""
    return {name: os.environ[name] for name in (REQUESTER_PAYS, SSE, KMS_KEY_ID) if os.environ.get(name)}


@contextmanager
def in_force(storage: ObjectStorage) -> Iterator[None]:
    """The options of a recipe, where it sets any, for as long as the block lasts."""
    asked = ((REQUESTER_PAYS, storage.requester_pays and "1"), (SSE, storage.sse), (KMS_KEY_ID, storage.kms_key_id))
    wanted = {name: value for name, value in asked if value}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def is_requester_paying() -> bool:
    """Whether this account pays for what it reads from buckets of others."""
    return os.environ.get(REQUESTER_PAYS, "").lower() in ("1", "true", "yes")


def reading() -> dict[str, str]:
    """Arguments of every request that reads or lists."""
    return {"RequestPayer": "requester"} if is_requester_paying() else {}


def writing() -> dict[str, str]:
    """Arguments of every request that writes an object."""
    found = dict(reading())
    if sse := os.environ.get(SSE):
        found["ServerSideEncryption"] = sse
        if key := os.environ.get(KMS_KEY_ID):
            found["SSEKMSKeyId"] = key
    return found
