"""Opens the storage that a URL names."""

from __future__ import annotations

from curate.base.errors import WorkspaceError
from curate.storage.interface import Storage, StorageOptions
from curate.storage.local import LocalStorage


def open_storage(url: str, options: StorageOptions) -> Storage:
    """The storage at a local path or ``s3://bucket/prefix``.

    Args:
        url: the place.
        options: those of a storage that is open (``storage.options``), so that both are read and written in the same
            way, or ``StorageOptions.from_environment()`` where no recipe is known.

    Raises:
        WorkspaceError: the URL's scheme is not known.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return LocalStorage(url, options)
    if scheme == "s3":
        from curate.storage.s3 import S3Storage  # boto3 takes long to import

        return S3Storage(url, options)
    raise WorkspaceError(f"{url}: only local paths and s3://bucket/prefix are supported")
