"""Options of a storage, such as S3 encryption and requester-pays. They travel with the storage to every worker.

Credentials are no options: they never pass through here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace


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
