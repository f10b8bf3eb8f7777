"""A finished run, read-only: its tables as lazy frames and Ray datasets, single rows by doc_id, texts of documents."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.edits import replaced
from curate.base.errors import RequestError, WorkspaceError
from curate.base.hashing import document_hash
from curate.recipe import Recipe
from curate.recipe.file import absolute_recipe
from curate.storage.interface import StorageOptions
from curate.storage.local import LocalStorage
from curate.tables.parquet import read_groups, reraise_as_damaged, validate
from curate.tables.snapshot import Snapshot, TableFile
from curate.tables.workspace import Broken, open_state, open_workspace

if TYPE_CHECKING:
    import ray.data


READERS = 4
"""Files that are read at the same time for single rows: the neighbours of a document are in many partitions."""


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of numbers without nulls as a NumPy array, by way of Polars.

    pyarrow's own conversion imports pandas first: a third of a second before the first answer, and 50 MB.
    """
    return pl.Series(pl.from_arrow(column)).to_numpy()


def to_arrow(values: NDArray[Any]) -> pa.Array:
    """Numbers or a mask as an Arrow array, by way of Polars (see :func:`to_numpy`)."""
    return pl.Series(values).to_arrow()


def no_rows(columns: Iterable[str]) -> pa.Table:
    """A table of no rows, made without pandas."""
    return pa.table({name: pa.nulls(0) for name in columns})


def stored_recipe(workspace: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of the last run in a workspace, with ``--set`` style changes; its paths are below the workspace.

    Raises:
        WorkspaceError: the workspace holds no finished run.
        RecipeError: a wrong change.
    """
    storage, state = open_state(workspace)
    return absolute_recipe(state.recipe, storage.url, changes)


@dataclass(frozen=True, slots=True)
class Answer:
    """A part of an answer about a run."""

    def as_dict(self) -> dict[str, Any]:
        """Its fields as JSON-able values."""
        return asdict(self)


class Text(NamedTuple):
    """The text of a document.

    Attributes:
        original: as it was read.
        edited: as later stages see it: with the spans in ``kept`` cut or replaced; of a document that is not kept, those
            in ``edits``.
    """

    original: str
    edited: str


class RunReader:
    """Reads a finished run in a workspace, local or in an object store. Changes nothing."""

    def __init__(self, workspace: str, options: StorageOptions | None = None, broken: Broken | None = None) -> None:
        """Open a workspace.

        Args:
            workspace: a local folder or ``s3://bucket/prefix``.
            options: for reading ``run.json``, and where its recipe sets none; by default those of the environment.
            broken: is told of manifests that cannot be read; their tables are then left out.

        Raises:
            WorkspaceError: there is no finished run, or a manifest cannot be read and ``broken`` is not given.
        """
        self.storage, self.state, self.snapshots = open_workspace(workspace, options, broken)

    @property
    def url(self) -> str:
        """Path or URL of the workspace."""
        return self.storage.url

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.state.name

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the last run, its paths resolved against the workspace."""
        return absolute_recipe(self.state.recipe, self.url)

    def snapshot(self, table: str) -> Snapshot:
        """The snapshot of a table.

        Raises:
            RequestError: there is no such table; the message names the nearest.
        """
        if table in self.snapshots:
            return self.snapshots[table]
        near = difflib.get_close_matches(table, self.snapshots, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RequestError(
            f"there is no table {table!r} in {self.url}; {hint}tables: {', '.join(sorted(self.snapshots))}"
        )

    def has(self, *tables: str) -> bool:
        """Whether the run has these tables."""
        return all(table in self.snapshots for table in tables)

    def table(self, name: str) -> pl.LazyFrame:
        """A Polars LazyFrame over all Parquet files of a table.

        Raises:
            RequestError: there is no such table.
        """
        paths, filesystem = self._parquet(name)
        if not paths:
            return pl.LazyFrame()
        if filesystem is None:
            return pl.scan_parquet(paths)
        import pyarrow.dataset as ds

        return pl.scan_pyarrow_dataset(ds.dataset(paths, filesystem=filesystem, format="parquet"))

    def dataset(self, name: str) -> ray.data.Dataset:
        """A ``ray.data.Dataset`` over all Parquet files of a table, for going on with Ray Data.

        Raises:
            RequestError: there is no such table, or it has no rows.
        """
        paths, filesystem = self._parquet(name)
        if not paths:
            raise RequestError(f"table {name!r} in {self.url} has no Parquet files")
        import ray.data

        return ray.data.read_parquet(paths, filesystem=filesystem)

    def text(self, doc_id: int) -> Text:
        """The text of a document, original and edited.

        Raises:
            RequestError: there is no such document.
        """
        document = self.rows("documents", [doc_id], ["text"])
        if document.num_rows == 0:
            raise RequestError(f"{self.url} has no document with doc_id {doc_id}")
        original = document["text"][0].as_py()
        table, spans = self._edits(doc_id)
        with reraise_as_damaged(f"the table {table} of {self.url}"):
            starts, ends = (np.array([span[name] for span in spans], np.int64) for name in ("start", "end"))
            texts = [span["replacement"] for span in spans]
            return Text(original, replaced(original.encode(), starts, ends, texts))

    def _edits(self, doc_id: int) -> tuple[str, list[dict[str, Any]]]:
        """How a document's text is edited, and the table that says so; of one that deduplication removed, by rules alone."""
        for table in ("kept", "edits"):
            if self.has(table) and (rows := self.rows(table, [doc_id]).to_pylist()):
                return table, rows[0]["cuts"] if table == "kept" else rows
        return "edits", []

    def rows(self, table: str, doc_ids: Iterable[int], columns: list[str] | None = None) -> pa.Table:
        """Rows of some documents in a table, sorted by doc_id. Reads only row groups that can hold them."""
        wanted = np.unique(np.fromiter((int(value) for value in doc_ids), np.uint64))
        if columns is not None and "doc_id" not in columns:
            columns = ["doc_id", *columns]
        files, rows_of = self.files_with(table, wanted), partial(self._rows_of_file, wanted, columns)
        with ThreadPoolExecutor(READERS) as pool:
            parts = [part for rows in pool.map(rows_of, files) for part in rows]
        return pa.concat_tables(parts).sort_by("doc_id") if parts else no_rows(columns or ["doc_id"])

    def hashed(self, table: str, n: int, columns: list[str]) -> pa.Table:
        """The same ``n`` rows of a per-document table every time (smallest hash of doc_id), sorted by doc_id; all if fewer."""
        whole = self.snapshot(table).rows
        # Keep twice the expected number while reading, then the n smallest.
        limit = np.uint64(2**64 - 1) if whole <= n else np.uint64(min(2.0 * n / whole, 1.0) * (2**64 - 1024))
        parts = []
        for file in self.parquet_files(table):
            for batch in self.batches(file, ["doc_id", *columns]):
                mask = document_hash(self.recipe.seed, "look", batch["doc_id"].to_numpy()) <= limit
                parts.append(batch.filter(pa.array(mask)))
        rows = pa.concat_tables(parts) if parts else no_rows(["doc_id", *columns])
        hashes = document_hash(self.recipe.seed, "look", rows["doc_id"].to_numpy().astype(np.uint64))
        return rows.take(pa.array(np.argsort(hashes, kind="stable")[:n])).sort_by("doc_id")

    def _rows_of_file(self, wanted: NDArray[np.uint64], columns: list[str] | None, file: TableFile) -> list[pa.Table]:
        groups = self.batches(file, columns, wanted)
        return [group.filter(to_arrow(np.isin(to_numpy(group["doc_id"]), wanted))) for group in groups]

    def files_with(self, table: str, doc_ids: NDArray[np.uint64]) -> list[TableFile]:
        """The files of a table whose bounds hold one of ``doc_ids``."""
        return [
            file
            for file in self.snapshot(table).files
            if file.first is not None
            and file.last is not None
            and ((doc_ids >= np.uint64(file.first)) & (doc_ids <= np.uint64(file.last))).any()
        ]

    def open(self, file: TableFile) -> pa.NativeFile:
        """A file of a table for random access.

        Raises:
            WorkspaceError: it is gone.
        """
        try:
            return self.storage.open(file.path)
        except FileNotFoundError:
            raise WorkspaceError(
                f"{file.path} is missing from {self.url}, although a snapshot names it; `curate verify` lists what is wrong"
            ) from None

    def place(self, file: TableFile) -> str:
        """Path or URL of a file, for error messages."""
        return f"{self.url}/{file.path}"

    def read(self, file: TableFile, columns: list[str] | None = None) -> pa.Table:
        """All rows of one Parquet file of a table."""
        with self.open(file) as source:
            return validate(pq.ParquetFile(source).read(columns=columns), self.place(file))

    def batches(
        self, file: TableFile, columns: list[str] | None = None, wanted: NDArray[np.uint64] | None = None
    ) -> Iterator[pa.Table]:
        """One Parquet file of a table, a row group at a time; row groups without any of the sorted doc_ids ``wanted`` are skipped."""
        with self.open(file) as source:
            for table in read_groups(pq.ParquetFile(source), columns, wanted):
                yield validate(table, self.place(file))

    def parquet_files(self, table: str) -> list[TableFile]:
        """The Parquet files of a table."""
        return [file for file in self.snapshot(table).files if file.path.endswith(".parquet")]

    def _parquet(self, table: str) -> tuple[list[str], Any]:
        """(paths, PyArrow file system) of the Parquet files of a table; the file system is None for local files."""
        paths = [file.path for file in self.parquet_files(table)]
        if isinstance(self.storage, LocalStorage):
            return [str(self.storage.root / path) for path in paths], None
        bucket = self.url.removeprefix("s3://").rstrip("/")
        return [f"{bucket}/{path}" for path in paths], self.storage.filesystem  # type: ignore[attr-defined]
