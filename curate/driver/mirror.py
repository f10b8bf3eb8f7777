"""The mirror: a copy of the finished shard set where a trainer reads it."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from curate.base.catalog import SHARD_FOLDER
from curate.shards.formats import FORMATS
from curate.storage.interface import Storage
from curate.storage.open import open_storage
from curate.tables.snapshot import Snapshot

COPY_BYTES = 8 << 20
_INDEX = re.compile(r"^(generation-\d{4}/)?index\.json$")


def shard_file() -> re.Pattern[str]:
    """Matches names of the files of a shard set, in any format; others at the mirror's place are somebody else's."""
    files = [rf"{name}/(?:{form.pattern})" for name, form in FORMATS.items()]
    return re.compile(rf"^{SHARD_FOLDER}(?:index\.json|{'|'.join(files)})$")


def mirror(storage: Storage, shards: Snapshot, url: str) -> None:
    """Make ``url`` hold exactly the files of ``shards``; nothing is copied when its indexes are there already.

    Each generation has an ``index.json``, which lists the checksums of its other files. The former ones go first and the
    new ones come last, so what has an index is whole. Files of a former set are removed; others at ``url`` are left alone.

    Raises:
        WorkspaceError: nothing can be written at ``url``.
    """
    target = open_storage(url, storage.options)
    names = {f"{file.name}{Path(file.path).suffix}": file for file in shards.files}
    indexes = {name: storage.read(file.path) for name, file in names.items() if _INDEX.match(name)}
    there = {info.path: info.size for info in target.list()}
    own = shard_file()
    stale = [name for name in there if own.match(name) and name not in names]
    same = all(there.get(name) == file.bytes for name, file in names.items())
    if same and not stale and all(target.read(name) == content for name, content in indexes.items()):
        return
    target.check_writable()
    for name in [*filter(_INDEX.match, there), *(name for name in stale if not _INDEX.match(name))]:
        target.delete(name)
    for name, file in sorted(names.items()):
        if name in indexes:
            continue
        local = target.scratch() / f"mirror-{uuid.uuid4().hex}"
        with storage.open(file.path) as source, local.open("wb") as out:
            while block := source.read(COPY_BYTES):
                out.write(block)
        target.move_in(local, name)
    for name, content in sorted(indexes.items()):
        target.put(name, content)
    target.delete_tree("tmp")
