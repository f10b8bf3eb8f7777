"""What a takedown asks for, and the documents that this names: those asked for, and what else holds their texts.

Documents are named by their ids, by a condition, or by a text that they hold or nearly are. A document that was removed
as a duplicate of one that leaves would take its place when decisions are taken again, so it leaves with it; so does
every document with the very same text, whatever became of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base import schemas
from curate.base.columns import IDs, column, is_in, rows_with
from curate.base.errors import RequestError
from curate.base.hashing import text_hashes
from curate.dedup.candidates import jaccard
from curate.dedup.shingles import shingle_sets
from curate.engine.context import TaskContext
from curate.engine.stage import StageRun, Step, partitions
from curate.engine.task import PartitionTask
from curate.quality.expressions import Expression, ExpressionError
from curate.quality.verdicts import FIELDS, holding
from curate.storage.interface import Storage
from curate.storage.local import file_checksum
from curate.tables.parquet import read_rows
from curate.tables.snapshot import Snapshot, TableFile

FOUND = pa.schema([*(field for field in schemas.REMOVED if field.name != "request"), ("n_bytes", pa.int64())])
"""Documents that are to leave: rows of ``removed`` but for the number of the request, and the sizes of their texts."""

BY_ID, BY_NUMBER = "asked for", "asked for by doc_id"
"""How a document was found that a request names by its id, or by its doc_id."""

Found = tuple[pa.Table, NDArray[np.object_]]
"""Documents (doc_id, id, source, text) and how each was found."""

LEAST_BYTES = 20
"""A shorter text names too much to be looked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """Which documents are to leave, at whose wish, and why. One of ``ids``, ``where`` and ``like`` is given.

    Attributes:
        ids: ids or doc_ids of documents.
        where: a condition over ``id``, ``source``, ``meta`` and the signals, as in ``quality.where``.
        like: a text: documents that hold it word for word, and those whose shingles are near its own.
        by: who asks.
        reason: why.
        similarity: Jaccard similarity from which on a document is like the text.
        ngram: words of a shingle.
    """

    ids: Sequence[str] = ()
    where: str = ""
    like: str = ""
    by: str = ""
    reason: str = ""
    similarity: float = 0.8
    ngram: int = 5

    def check(self, columns: Sequence[str]) -> None:
        """Raise RequestError unless exactly one thing is asked for, and it makes sense for documents with ``columns``."""
        if sum(map(bool, (self.ids, self.where, self.like))) != 1:
            raise RequestError("name the documents by one of --ids, --where and --like, which must not be empty")
        if self.where:
            try:
                Expression(self.where, columns)
            except ExpressionError as error:
                raise RequestError(f"--where: {error}") from None
        if self.like and len(self.like.strip().encode()) < LEAST_BYTES:
            raise RequestError(f"--like: a text of fewer than {LEAST_BYTES} bytes is in too many documents")

    @property
    def how(self) -> str:
        """ids, where or like."""
        return "ids" if self.ids else "where" if self.where else "like"

    @property
    def what(self) -> str:
        """What was asked for, for the audit: never the text itself, which is to be forgotten."""
        if self.ids:
            return f"{len(self.ids)} ids: {', '.join(self.ids[:20])}" + (" …" if len(self.ids) > 20 else "")
        return self.where or f"a text of {len(self.like.encode()):,} bytes, blake2b {text_digest(self.like)}"


def text_digest(text: str) -> str:
    """Hex digest of a text."""
    return text_hashes(pa.array([text], pa.large_string()))[0].hex()


def find(run: StageRun, tables: dict[str, Snapshot], request: Request) -> pa.Table:
    """The documents of a request and what leaves with them (:data:`FOUND`), by doc_id.

    Args:
        run: of any stage; its intermediates take the found rows.
        tables: of the finished run.
    """
    sidecars = {name: tables[name] for name in ("signals", "tokens", "duplicates") if name in tables}
    parts = partitions(tables["documents"], **sidecars)
    asked = [
        AskedTask(
            name=part.name,
            documents=part.documents,
            signals=part.files.get("signals"),
            tokens=part.files.get("tokens"),
            request=request,
        )
        for part in parts
    ]
    found = _without_namesakes(_rows(run, run.step("tmp/asked", asked)))
    new, folder = found, f"tmp/{run.stage_key}/found"
    while new.num_rows:
        known_file = put_file(run.storage, folder, "found", found)
        new_file = put_file(run.storage, folder, "found", new)
        copies = [
            CopiesTask(
                name=part.name,
                documents=part.documents,
                known=known_file,
                new=new_file,
                signals=part.files.get("signals"),
                duplicates=part.files.get("duplicates"),
                tokens=part.files.get("tokens"),
            )
            for part in parts
        ]
        new = _rows(run, run.step("tmp/copies", copies))
        found = pa.concat_tables([found, new]).sort_by("doc_id")
    return found


def _without_namesakes(found: pa.Table) -> pa.Table:
    """Without documents whose doc_id is asked for, but as the id of another: an id goes first."""
    names = pa.array(found.filter(pc.equal(found["how"], BY_ID))["id"].to_pylist(), pa.string())
    namesake = pc.and_(pc.equal(found["how"], BY_NUMBER), pc.is_in(found["doc_id"].cast(pa.string()), value_set=names))
    return found.filter(pc.invert(namesake))


def _rows(run: StageRun, step: Step) -> pa.Table:
    parts = [FOUND.empty_table()]
    parts += [read_rows(run.storage, file.path) for record in step.records for file in record.written]
    return pa.concat_tables(parts).sort_by("doc_id")


@dataclass(frozen=True, kw_only=True)
class AskedTask(PartitionTask):
    """The documents of one partition that a request names; for ids and conditions only the texts of these are read."""

    grows_with = "text_bytes"

    signals: TableFile | None
    tokens: TableFile | None
    request: Request

    def work(self, context: TaskContext) -> None:
        _write(context, "tmp/asked", self._alike(context) if self.request.like else self._named(context), self.tokens)

    def _named(self, context: TaskContext) -> Iterator[Found]:
        where = self.request.where
        rows = context.read(self.documents, ["doc_id", "id", "source", *(["meta"] if where else [])])
        how = _named(rows, self.request.ids)
        if where:
            signals = context.read(self.signals) if self.signals is not None else rows
            how[holding(signals, rows, [Expression(where, [*FIELDS, *signals.column_names])])] = BY_ID
        yield from _with_texts(context, self.documents, column(rows, "doc_id"), how)

    def _alike(self, context: TaskContext) -> Iterator[Found]:
        for rows in context.batches(self.documents, ["doc_id", "id", "source", "text"]):
            yield rows, _like(rows["text"], self.request)


@dataclass(frozen=True, kw_only=True)
class CopiesTask(PartitionTask):
    """The documents of one partition with a text of the ``new`` ones, or removed as duplicates of them, that are not
    ``known``. Where texts were measured, only those of the right length are read."""

    grows_with = "documents"

    known: TableFile
    new: TableFile
    signals: TableFile | None
    duplicates: TableFile | None
    tokens: TableFile | None

    def work(self, context: TaskContext) -> None:
        new = context.read(self.new, ["doc_id", "text_hash", "n_bytes"])
        ids = column(context.read(self.documents, ["doc_id"]), "doc_id")
        of_keeper = np.zeros(len(ids), np.bool_)
        if self.duplicates is not None:
            recorded = context.read(self.duplicates, ["doc_id", "keeper"])
            is_of_new = is_in(column(recorded, "keeper"), column(new, "doc_id"))
            of_keeper = is_in(ids, column(recorded, "doc_id")[is_of_new])
        candidate = np.ones(len(ids), np.bool_)
        if self.signals is not None:
            candidate = np.isin(column(context.read(self.signals, ["n_bytes"]), "n_bytes"), column(new, "n_bytes"))
        is_known = is_in(ids, column(context.read(self.known, ["doc_id"]), "doc_id"))
        how = np.where(of_keeper, "duplicate of one that leaves", "same text").astype(object)
        how[is_known | ~(candidate | of_keeper)] = ""
        hashes = frozenset(new["text_hash"].to_pylist())
        _write(context, "tmp/copies", self._copies(context, ids, how, hashes), self.tokens)

    def _copies(
        self, context: TaskContext, ids: IDs, how: NDArray[np.object_], hashes: frozenset[bytes]
    ) -> Iterator[Found]:
        for rows, why in _with_texts(context, self.documents, ids, how):
            is_same = np.array([text_hash in hashes for text_hash in text_hashes(rows["text"])], np.bool_)
            why[why == "same text"] = ""
            why[is_same] = "same text"
            yield rows, why


def _named(documents: pa.Table, ids: Sequence[str]) -> NDArray[np.object_]:
    """object[n]: :data:`BY_ID` for documents whose id is among ``ids``, :data:`BY_NUMBER` for those whose doc_id is, else ''."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    how = np.full(documents.num_rows, "", object)
    how[pc.is_in(documents["doc_id"].cast(pa.string()), value_set=wanted).to_numpy()] = BY_NUMBER
    how[pc.is_in(documents["id"], value_set=wanted).to_numpy()] = BY_ID
    return how


def _like(texts: pa.ChunkedArray, request: Request) -> NDArray[np.object_]:
    """object[n]: how each text is like the request's: it ``holds the text`` word for word, is a ``near duplicate`` of it
    (true Jaccard of the shingle sets), or ''."""
    text, n = request.like.strip(), len(texts)
    values, offsets = shingle_sets(
        pa.chunked_array([pa.array([text], pa.large_string()), *texts.chunks]), request.ngram
    )
    how = np.full(n, "", object)
    similarities = jaccard(values, offsets, np.zeros(n, np.int64), np.arange(1, n + 1))
    how[similarities >= request.similarity] = "near duplicate"
    how[pc.match_substring(texts, text).to_numpy()] = "holds the text"
    return how


def _with_texts(context: TaskContext, documents: TableFile, ids: IDs, how: NDArray[np.object_]) -> Iterator[Found]:
    """The documents that were found, with their texts; row groups without one of them are not read."""
    wanted = ids[how != ""]
    why = how[how != ""]
    for rows in context.batches(documents, ["doc_id", "id", "source", "text"], wanted) if len(wanted) else ():
        rows = rows_with(rows, wanted)
        yield rows, why[np.searchsorted(wanted, column(rows, "doc_id"))]


def _write(context: TaskContext, table: str, parts: Iterator[Found], tokens: TableFile | None) -> None:
    """Write found documents without their texts, if there are any."""
    tables = []
    for rows, how in parts:
        rows = rows.append_column("how", pa.array(how, pa.string())).filter(pa.array(how != ""))
        hashes, sizes = pa.array(text_hashes(rows["text"]), pa.binary(16)), pc.binary_length(rows["text"])
        tables.append(rows.drop_columns(["text"]).append_column("text_hash", hashes).append_column("n_bytes", sizes))
    if not any(rows.num_rows for rows in tables):
        return
    found = pa.concat_tables(tables)
    n_tokens: pa.ChunkedArray = pa.chunked_array([pa.nulls(found.num_rows, pa.uint32())])
    if tokens is not None:
        counted = context.read(tokens, ["doc_id", "n_tokens"])
        n_tokens = counted["n_tokens"].take(pc.index_in(found["doc_id"], value_set=counted["doc_id"].combine_chunks()))
    context.write(table, found.append_column("n_tokens", n_tokens).select(FOUND.names).cast(FOUND))


def put_file(storage: Storage, folder: str, name: str, table: pa.Table) -> TableFile:
    """Put a small table that the driver makes, for tasks to read or a snapshot to name, as ``folder``/CHECKSUM/``name``.parquet."""
    local = storage.scratch() / f"takedown-{uuid.uuid4().hex}"
    pq.write_table(table, local, compression="zstd", row_group_size=1 << 20)
    checksum, size = file_checksum(local), local.stat().st_size
    bounds = pc.min_max(table["doc_id"]).as_py() if "doc_id" in table.column_names else {}
    path = f"{folder}/{checksum[:16]}/{name}.parquet"
    storage.move_in(local, path)
    return TableFile(name, path, table.num_rows, size, checksum, bounds.get("min"), bounds.get("max"))
