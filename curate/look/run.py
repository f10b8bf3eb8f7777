"""A finished run, opened for looking: its tables as lazy frames, single rows by doc_id, and everything derived from them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.edits import replaced
from curate.errors import RequestError, WorkspaceError
from curate.hashing import document_hash
from curate.look.arrays import to_arrow, to_numpy
from curate.recipe import cuts_paragraphs
from curate.run.row_groups import read_groups
from curate.run.snapshot import Snapshot, TableFile
from curate.run.tasks import as_file
from curate.run.workspace import open_workspace

if TYPE_CHECKING:
    import ray.data
    from datasketch import MinHash, MinHashLSH

    from curate.look.explain import Explanation
    from curate.look.export import Exported
    from curate.look.lookup import Match
    from curate.look.near import Nearest
    from curate.look.pairs import Pair
    from curate.look.sample import Sample
    from curate.look.svg import Plot
    from curate.look.window_text import WindowText
    from curate.look.windows import Windows
    from curate.recipe import Recipe


READERS = 4
"""Files that are read at the same time for single rows: the neighbours of a document lie in many partitions."""


class Text(NamedTuple):
    """The text of a document as it was read, and as later stages see it: with the spans in ``edits`` cut or masked, and
    without the words of evaluation sets and the duplicate paragraphs that the recipe cuts."""

    original: str
    edited: str


class Run:
    """A finished run in a workspace, local or in an object store; nothing in it is changed."""

    def __init__(self, workspace: str) -> None:
        self.storage, self.state, self.snapshots = open_workspace(workspace)

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
        from curate.recipe_file import from_dict

        base = Path.cwd() if "://" in self.url else Path(self.url)
        return from_dict({**self.state.recipe, "workspace": self.url}, base, origin=f"{self.url}/run.json")

    # --- tables

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
            found = parquet.read_row_groups(groups, columns=columns)
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

    def read(self, file: TableFile | dict[str, Any], columns: list[str] | None = None) -> pa.Table:
        """All rows of one Parquet file of a table."""
        with self.open(as_file(file)) as source:
            return pq.ParquetFile(source).read(columns=columns)

    def batches(
        self,
        file: TableFile | dict[str, Any],
        columns: list[str] | None = None,
        wanted: NDArray[np.uint64] | None = None,
    ) -> Iterator[pa.Table]:
        """One Parquet file of a table, a row group at a time; those without any of the sorted ``wanted`` are left out."""
        with self.open(as_file(file)) as source:
            yield from read_groups(pq.ParquetFile(source), columns, wanted)

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

    # --- looking

    def text(self, doc_id: int) -> Text:
        """The text of a document, original and edited.

        Raises:
            RequestError: there is no such document.
        """
        found = self.rows("documents", [doc_id], ["text"])
        if found.num_rows == 0:
            raise RequestError(f"{self.url} has no document with doc_id {doc_id}")
        original = found["text"][0].as_py()
        edited = original
        edits = self.rows("edits", [doc_id], ["start", "end", "replacement"]) if self.has("edits") else pa.table({})
        if edits.num_rows:
            starts, ends = to_numpy(edits["start"]), to_numpy(edits["end"])
            edited = replaced(original.encode(), starts, ends, edits["replacement"].to_pylist())
        return Text(original, self._without_cuts(doc_id, edited))

    def _without_cuts(self, doc_id: int, edited: str) -> str:
        """A text as edited, without what deduplication cuts from it."""
        spans = []
        if self.has("contamination"):
            found = self.rows("contamination", [doc_id], ["start", "end", "removed"])
            spans += [(one["start"], one["end"]) for one in found.to_pylist() if not one["removed"]]
        if self.has("paragraphs") and cuts_paragraphs(self.recipe):
            spans += [
                (one["start"], one["end"]) for one in self.rows("paragraphs", [doc_id], ["start", "end"]).to_pylist()
            ]
        bounds = np.array(sorted(spans), np.int64).reshape(-1, 2)
        return replaced(edited.encode(), bounds[:, 0], bounds[:, 1], [None] * len(bounds))

    def stats(self, label: str | None = None) -> dict[str, Any]:
        """What went in, what became of it and what came out, as plain dicts and lists (see :mod:`curate.look.stats`).

        With ``label``, as ``meta.topic``, also how often the documents of a window share it.

        Raises:
            RequestError: no document of the sample has the label, or there are no windows with two documents.
        """
        from curate.look.stats import collect

        return collect(self, label)

    def explain(self, document: str | int) -> list[Explanation]:
        """What became of every document whose id or doc_id is ``document``, and why.

        Raises:
            RequestError: there is none.
        """
        from curate.look.explain import explain

        return explain(self, document)

    def sample(self, removed_by: str | None = None, source: str | None = None, n: int = 5) -> list[Sample]:
        """``n`` documents to look at, always the same ones (by hash of doc_id).

        Raises:
            RequestError: nothing was removed by ``removed_by``, or there is no such source.
        """
        from curate.look.sample import sample

        return sample(self, removed_by=removed_by, source=source, n=n)

    def lookup(self, text: str) -> list[Match]:
        """Kept documents that are like ``text``, with true similarity and containment, the most similar first.

        Raises:
            RequestError: the run has no signatures, or the text has no words.
        """
        from curate.look.lookup import lookup

        return lookup(self, text)

    def lsh(self) -> MinHashLSH:
        """A ``datasketch.MinHashLSH`` over the kept documents, by doc_id; :meth:`minhash` makes what it is asked with.

        Raises:
            RequestError: the run has no signatures.
        """
        from curate.look.lookup import lsh_index

        return lsh_index(self)

    def minhash(self, text: str) -> MinHash:
        """The ``datasketch.MinHash`` of a text under the parameters of this run's signatures.

        Raises:
            RequestError: the run has no signatures.
        """
        from curate.look.lookup import minhash_of

        return minhash_of(self, text)

    def duplicates(self, document: str | int) -> list[Pair]:
        """Removed duplicates beside their keepers, with what differs: of every match, and of those removed in its place.

        Raises:
            RequestError: there is no such document, or it has no duplicates.
        """
        from curate.look.pairs import duplicates

        return duplicates(self, document)

    def neighbors(self, document: str | int, n: int = 10) -> Nearest:
        """The nearest documents that the order was made from, the nearest first.

        Raises:
            RequestError: there is no such document, several have this id, or it is not on the path.
        """
        from curate.look.near import neighbors

        return neighbors(self, document, n)

    def search(self, text: str, n: int = 10) -> Nearest:
        """The documents whose vectors are nearest to that of ``text``, the nearest first.

        Raises:
            RequestError: the run has no vectors, or knows no word of the text.
        """
        from curate.look.near import search

        return search(self, text, n)

    def window(self, shard: int, window: int, number_of_set: int = 0) -> WindowText:
        """One context window with its text, where its documents begin and end, and what they are.

        Raises:
            RequestError: there is no such window.
        """
        from curate.look.window_text import window_text

        return window_text(self, shard, window, number_of_set)

    def coherence(self, windows: int = 100, label: str | None = None, judge: str | None = None) -> dict[str, Any]:
        """Whether what shares a window belongs together: :func:`curate.look.coherence.coherence`.

        Raises:
            RequestError: the run has no windows, or none with two documents; the label or the model is not there.
        """
        from curate.look.coherence import coherence

        return coherence(self, windows, label, judge)

    def compare(self, other: Run | str | Path) -> dict[str, Any]:
        """What differs from this run to another: recipe, documents, measures (see :mod:`curate.look.compare`).

        Raises:
            RequestError: one of the runs was stopped before its ledger.
        """
        from curate.look.compare import compare

        return compare(self, other if isinstance(other, Run) else Run(str(other)))

    def report(self, path: str | Path = "report.html", label: str | None = None) -> Path:
        """Write one self-contained HTML page about the run; ``label`` as for :meth:`stats`.

        Raises:
            RequestError: the file cannot be written, or as :meth:`stats`.
        """
        from curate.look.report import write_report

        return write_report(self, path, label)

    def card(self, path: str | Path = "card.md") -> Path:
        """Write a data card in Markdown.

        Raises:
            RequestError: the file cannot be written.
        """
        from curate.look.report import write_card

        return write_card(self, path)

    def plot_funnel(self) -> Plot:
        """Records left after each stage."""
        from curate.look.plots import funnel

        return funnel(self)

    def plot_scores(self) -> Plot:
        """What the quality rules measure, and their limits, on a sample by hash."""
        from curate.look.plots import scores

        return scores(self)

    def plot_components(self) -> Plot:
        """Groups of duplicates by size."""
        from curate.look.plots import components

        return components(self)

    def plot_path(self) -> Plot:
        """Similarity of neighbours along the path, beside a random order and the bound."""
        from curate.look.plots import path

        return path(self)

    def plot_map(self, documents: int = 4_000) -> Plot:
        """A sample of documents in the plane: sources, the largest clusters with their words, the path."""
        from curate.look.map import corpus_map

        return corpus_map(self, documents)

    def plot_lengths(self) -> Plot:
        """Tokens by length of their document, once and with copies."""
        from curate.look.plots import lengths

        return lengths(self)

    def export(self, to: str | Path, form: str = "parquet") -> Exported:
        """Write the kept documents as text, with metadata and decisions, to a folder or ``s3://bucket/prefix``.

        Raises:
            RequestError: ``form`` is not ``parquet`` or ``jsonl.zst``, or ``to`` holds other files.
        """
        from curate.look.export import export

        return export(self, str(to), form)

    def windows(self) -> Windows:
        """The context windows: iterate over them, or look one up by (shard, window)."""
        from curate.look.windows import Windows

        return Windows(self)

    def __repr__(self) -> str:
        return f"Run({self.url!r})"

    def _repr_html_(self) -> str:
        from curate.look.markup import Markup, element

        head = element("tr", element("th", "table"), element("th", "rows"), element("th", "stored"))
        rows = [
            element(
                "tr", *(element("td", cell, style="text-align:right" if i else None) for i, cell in enumerate(cells))
            )
            for name, one in self.snapshots.items()
            for cells in [(name, f"{one.rows:,}", f"{one.bytes / 1e6:,.1f} MB")]
        ]
        drawn = [Markup(self.plot_funnel().svg)] if self.has("documents") else []
        title = element("p", element("b", self.name), " ", element("code", self.url))
        return element("div", title, *drawn, element("table", element("thead", head), element("tbody", *rows)))


def to_json(value: Any) -> str:
    """``value`` as indented JSON for people and machines."""
    return json.dumps(value, indent=1, ensure_ascii=False)
