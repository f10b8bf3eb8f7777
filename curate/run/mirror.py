"""The mirror: a copy of the finished shard set where a trainer reads it."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from curate.run.snapshot import Snapshot
from curate.run.storage import Storage, open_storage

INDEX = "index.json"
COPY_BYTES = 8 << 20
_OURS = re.compile(
    r"^(generation-\d{4}/)?(set-\d+/)?(index\.json|parquet/shard-\d+\.parquet|mds/(index\.json|shard\.\d+\.mds)"
    r"|megatron/tokens\.(bin|idx)|numpy/shard-\d+\.np[yz]|webdataset/shard-\d+\.tar)$"
)


def mirror(storage: Storage, shards: Snapshot, url: str) -> None:
    """Make ``url`` hold exactly the files of the set ``shards``; nothing is copied when its index is there already.

    The former ``index.json`` goes first and the new one comes last, so a set with an index is whole. Files of a former
    set are removed; other files at ``url`` are left alone.

    Raises:
        WorkspaceError: nothing can be written at ``url``.
    """
    target = open_storage(url)
    names = {f"{file.name}{Path(file.path).suffix}": file for file in shards.files}
    there = {info.path: info.size for info in target.list()}
    wanted = storage.read(names[INDEX].path)
    if (
        INDEX in there
        and target.read(INDEX) == wanted
        and all(there.get(name) == file.bytes for name, file in names.items())
    ):
        return
    target.check_writable()
    target.delete(INDEX)
    for name in there:
        if _OURS.match(name) and name not in names:
            target.delete(name)
    for name, file in sorted(names.items()):
        if name == INDEX:
            continue
        local = target.scratch() / f"mirror-{uuid.uuid4().hex}"
        with storage.open(file.path) as source, local.open("wb") as out:
            while block := source.read(COPY_BYTES):
                out.write(block)
        target.move_in(local, name)
    target.put(INDEX, wanted)
    target.delete_tree("tmp")
