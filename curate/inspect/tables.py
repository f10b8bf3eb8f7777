"""The tables of a finished run: as lazy frames, as Ray datasets, and single rows by doc_id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.errors import RequestError, WorkspaceError
from curate.base.hashing import document_hash
from curate.inspect.arrays import to_arrow, to_numpy
from curate.storage.options import StorageOptions
from curate.tables.parquet import read_groups
from curate.tables.snapshot import Snapshot, TableFile, as_file
from curate.tables.validate import sound
from curate.tables.workspace import open_workspace

if TYPE_CHECKING:
    import ray.data

    from curate.recipe import Recipe


READERS = 4
"""Files that are read at the same time for single rows: the neighbours of a document lie in many partitions."""


class Tables:
    """The tables of a finished run in a workspace, local or in an object store; nothing in it is changed."""

    def __init__(self, workspace: str, options: StorageOptions | None = None) -> None:
        self.storage, self.state, self.snapshots = open_workspace(workspace, options)

    @property
    def url(self) -> str:
        """Where the workspace lies."""
        return self.storage.url

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.state.name

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the last run, its paths resolved against the workspace."""
        from curate.recipe.file import from_dict

        base = Path.cwd() if "://" in self.url else Path(self.url)
        return from_dict({**self.state.recipe, "workspace": self.url}, base, origin=f"{self.url}/run.json")

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
        """Whether the run has got as far as these tables."""
        return all(table in self.snapshots for table in tables)

    def table(self, name: str) -> pl.LazyFrame:
        """A Polars LazyFrame over all Parquet files of a table.

        Raises:
            RequestError: there is no such table.
        """
        paths = self._paths(name)
        root = self._root
        if not paths:
            return pl.LazyFrame()
        if root is not None:
            return pl.scan_parquet([str(root / path) for path in paths])
        import pyarrow.dataset as ds

        return pl.scan_pyarrow_dataset(
            ds.dataset([self._remote(path) for path in paths], filesystem=self._filesystem, format="parquet")
        )

    def dataset(self, name: str) -> ray.data.Dataset:
        """A ``ray.data.Dataset`` over all Parquet files of a table, for going on with Ray Data.

        Raises:
            RequestError: there is no such table, or it has no rows.
        """
        paths = self._paths(name)
        if not paths:
            raise RequestError(f"table {name!r} in {self.url} has no Parquet files")
        import ray.data

        root = self._root
        if root is not None:
            return ray.data.read_parquet([str(root / path) for path in paths])
        return ray.data.read_parquet([self._remote(path) for path in paths], filesystem=self._filesystem)

    def rows(self, table: str, doc_ids: Iterable[int], columns: list[str] | None = None) -> pa.Table:
        """The rows of some documents in a table, sorted by doc_id; only the row groups that can hold them are read."""
        wanted = np.unique(np.fromiter((int(value) for value in doc_ids), np.uint64))
        if columns is not None and "doc_id" not in columns:
            columns = ["doc_id", *columns]
        files, ids = [], []
        for file in self.snapshot(table).files:
            if file.first is None or file.last is None:
                continue
            first = np.searchsorted(wanted, np.uint64(file.first))
            stop = np.searchsorted(wanted, np.uint64(file.last), side="right")
            if first < stop:
                files.append(file)
                ids.append(wanted[first:stop])
        if not files:
            return pa.table({})
        with ThreadPoolExecutor(min(READERS, len(files))) as pool:
            parts = list(pool.map(self._rows_of_file, files, ids, [columns] * len(files)))
        return pa.concat_tables(parts).sort_by("doc_id")

    def hashed(self, table: str, n: int, columns: list[str]) -> pa.Table:
        """At most ``n`` rows of a per-document table, always the same ones (smallest hash of doc_id), sorted by doc_id.

        All doc_ids are read, of the other columns only what is drawn.
        """
        whole = self.snapshot(table).rows
        # Twice the expected number is kept while reading; then the smallest n of them.
        limit = np.uint64(2**64 - 1) if whole <= n else np.uint64(min(2.0 * n / whole, 1.0) * (2**64 - 1024))
        parts = []
        for file in self.parquet_files(table):
            for batch in self.batches(file, ["doc_id", *columns]):
                mask = document_hash(self.recipe.seed, "look", batch["doc_id"].to_numpy()) <= limit
                parts.append(batch.filter(pa.array(mask)))
        found = pa.concat_tables(parts) if parts else pa.table({name: [] for name in ["doc_id", *columns]})
        hashes = document_hash(self.recipe.seed, "look", found["doc_id"].to_numpy().astype(np.uint64))
        return found.take(pa.array(np.argsort(hashes, kind="stable")[:n])).sort_by("doc_id")

    def _rows_of_file(
        self, file: TableFile, wanted: np.ndarray[Any, np.dtype[np.uint64]], columns: list[str] | None
    ) -> pa.Table:
        with self.open(file) as source:
            parquet = pq.ParquetFile(source)
            index = parquet.schema_arrow.get_field_index("doc_id")
            groups = []
            for number in range(parquet.num_row_groups):
                bounds = parquet.metadata.row_group(number).column(index).statistics
                if (
                    bounds is None
                    or not bounds.has_min_max
                    or np.any((wanted >= np.uint64(bounds.min)) & (wanted <= np.uint64(bounds.max)))
                ):
                    groups.append(number)
            found = sound(parquet.read_row_groups(groups, columns=columns), self.place(file))
        return found.filter(to_arrow(np.isin(to_numpy(found["doc_id"]), wanted)))

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

    def place(self, file: TableFile | dict[str, Any]) -> str:
        """Where a file lies, as errors say it."""
        return f"{self.url}/{as_file(file).path}"

    def read(self, file: TableFile | dict[str, Any], columns: list[str] | None = None) -> pa.Table:
        """All rows of one Parquet file of a table."""
        with self.open(as_file(file)) as source:
            return sound(pq.ParquetFile(source).read(columns=columns), self.place(file))

    def batches(
        self,
        file: TableFile | dict[str, Any],
        columns: list[str] | None = None,
        wanted: NDArray[np.uint64] | None = None,
    ) -> Iterator[pa.Table]:
        """One Parquet file of a table, a row group at a time; those without any of the sorted ``wanted`` are left out."""
        with self.open(as_file(file)) as source:
            for table in read_groups(pq.ParquetFile(source), columns, wanted):
                yield sound(table, self.place(file))

    def parquet_files(self, table: str) -> list[TableFile]:
        """The Parquet files of a table."""
        return [file for file in self.snapshot(table).files if file.path.endswith(".parquet")]

    def _paths(self, table: str) -> list[str]:
        return [file.path for file in self.parquet_files(table)]

    @property
    def _root(self) -> Path | None:
        return getattr(self.storage, "root", None)

    @property
    def _filesystem(self) -> Any:
        return self.storage.filesystem  # type: ignore[attr-defined]

    def _remote(self, path: str) -> str:
        return f"{self.url.removeprefix('s3://').rstrip('/')}/{path}"
