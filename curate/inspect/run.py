"""A finished run, opened for looking: its tables, and everything derived from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.base.edits import replaced
from curate.base.errors import RequestError
from curate.inspect.arrays import to_numpy
from curate.inspect.tables import Tables
from curate.recipe import cuts_paragraphs
from curate.tables.validate import blamed_on

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

    from curate.inspect.explain import Explanation
    from curate.inspect.lookup import Match
    from curate.inspect.near import Nearest
    from curate.inspect.pairs import Pair
    from curate.inspect.sample import Sample
    from curate.inspect.window_text import WindowText
    from curate.inspect.windows import Windows
    from curate.report.svg import Plot
    from curate.tools.export import Exported


class Text(NamedTuple):
    """The text of a document as it was read, and as later stages see it: with the spans in ``edits`` cut or masked, and
    without the words of evaluation sets and the duplicate paragraphs that the recipe cuts."""

    original: str
    edited: str


class Run(Tables):
    """A finished run in a workspace, local or in an object store; nothing in it is changed."""

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
            with blamed_on(f"the table edits of {self.url}"):
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
        with blamed_on(f"the table contamination or paragraphs of {self.url}"):
            return replaced(edited.encode(), bounds[:, 0], bounds[:, 1], [None] * len(bounds))

    def stats(self, label: str | None = None) -> dict[str, Any]:
        """What went in, what became of it and what came out, as plain dicts and lists (see :mod:`curate.inspect.stats`).

        With ``label``, as ``meta.topic``, also how often the documents of a window share it.

        Raises:
            RequestError: no document of the sample has the label, or there are no windows with two documents.
        """
        from curate.inspect.stats import collect

        return collect(self, label)

    def explain(self, document: str | int) -> list[Explanation]:
        """What became of every document whose id or doc_id is ``document``, and why.

        Raises:
            RequestError: there is none.
        """
        from curate.inspect.explain import explain

        return explain(self, document)

    def sample(self, removed_by: str | None = None, source: str | None = None, n: int = 5) -> list[Sample]:
        """``n`` documents to look at, always the same ones (by hash of doc_id).

        Raises:
            RequestError: nothing was removed by ``removed_by``, or there is no such source.
        """
        from curate.inspect.sample import sample

        return sample(self, removed_by=removed_by, source=source, n=n)

    def lookup(self, text: str) -> list[Match]:
        """Kept documents that are like ``text``, with true similarity and containment, the most similar first.

        Raises:
            RequestError: the run has no signatures, or the text has no words.
        """
        from curate.inspect.lookup import lookup

        return lookup(self, text)

    def lsh(self) -> MinHashLSH:
        """A ``datasketch.MinHashLSH`` over the kept documents, by doc_id; :meth:`minhash` makes what it is asked with.

        Raises:
            RequestError: the run has no signatures.
        """
        from curate.inspect.lookup import lsh_index

        return lsh_index(self)

    def minhash(self, text: str) -> MinHash:
        """The ``datasketch.MinHash`` of a text under the parameters of this run's signatures.

        Raises:
            RequestError: the run has no signatures.
        """
        from curate.inspect.lookup import minhash_of

        return minhash_of(self, text)

    def duplicates(self, document: str | int) -> list[Pair]:
        """Removed duplicates beside their keepers, with what differs: of every match, and of those removed in its place.

        Raises:
            RequestError: there is no such document, or it has no duplicates.
        """
        from curate.inspect.pairs import duplicates

        return duplicates(self, document)

    def neighbors(self, document: str | int, n: int = 10) -> Nearest:
        """The nearest documents that the order was made from, the nearest first.

        Raises:
            RequestError: there is no such document, several have this id, or it is not on the path.
        """
        from curate.inspect.near import neighbors

        return neighbors(self, document, n)

    def search(self, text: str, n: int = 10) -> Nearest:
        """The documents whose vectors are nearest to that of ``text``, the nearest first.

        Raises:
            RequestError: the run has no vectors, or knows no word of the text.
        """
        from curate.inspect.near import search

        return search(self, text, n)

    def window(self, shard: int, window: int, number_of_set: int = 0) -> WindowText:
        """One context window with its text, where its documents begin and end, and what they are.

        Raises:
            RequestError: there is no such window.
        """
        from curate.inspect.window_text import window_text

        return window_text(self, shard, window, number_of_set)

    def coherence(self, windows: int = 100, label: str | None = None, judge: str | None = None) -> dict[str, Any]:
        """Whether what shares a window belongs together: :func:`curate.inspect.coherence.coherence`.

        Raises:
            RequestError: the run has no windows, or none with two documents; the label or the model is not there.
        """
        from curate.inspect.coherence import coherence

        return coherence(self, windows, label, judge)

    def compare(self, other: Run | str | Path) -> dict[str, Any]:
        """What differs from this run to another: recipe, documents, measures (see :mod:`curate.inspect.compare`).

        Raises:
            RequestError: one of the runs was stopped before its ledger.
        """
        from curate.inspect.compare import compare

        return compare(self, other if isinstance(other, Run) else Run(str(other)))

    def report(self, path: str | Path = "report.html", label: str | None = None) -> Path:
        """Write one self-contained HTML page about the run; ``label`` as for :meth:`stats`.

        Raises:
            RequestError: the file cannot be written, or as :meth:`stats`.
        """
        from curate.report.report import write_report

        return write_report(self, path, label)

    def card(self, path: str | Path = "card.md") -> Path:
        """Write a data card in Markdown.

        Raises:
            RequestError: the file cannot be written.
        """
        from curate.report.report import write_card

        return write_card(self, path)

    def plot_funnel(self) -> Plot:
        """Records left after each stage."""
        from curate.report.plots import funnel

        return funnel(self)

    def plot_scores(self) -> Plot:
        """What the quality rules measure, and their limits, on a sample by hash."""
        from curate.report.plots import scores

        return scores(self)

    def plot_components(self) -> Plot:
        """Groups of duplicates by size."""
        from curate.report.plots import components

        return components(self)

    def plot_path(self) -> Plot:
        """Similarity of neighbours along the path, beside a random order and the bound."""
        from curate.report.plots import path

        return path(self)

    def plot_map(self, documents: int = 4_000) -> Plot:
        """A sample of documents in the plane: sources, the largest clusters with their words, the path."""
        from curate.report.map import corpus_map

        return corpus_map(self, documents)

    def plot_lengths(self) -> Plot:
        """Tokens by length of their document, once and with copies."""
        from curate.report.plots import lengths

        return lengths(self)

    def export(self, to: str | Path, form: str = "parquet") -> Exported:
        """Write the kept documents as text, with metadata and decisions, to a folder or ``s3://bucket/prefix``.

        Raises:
            RequestError: ``form`` is not ``parquet`` or ``jsonl.zst``, or ``to`` holds other files.
        """
        from curate.tools.export import export

        return export(self, str(to), form)

    def windows(self) -> Windows:
        """The context windows: iterate over them, or look one up by (shard, window)."""
        from curate.inspect.windows import Windows

        return Windows(self)

    def __repr__(self) -> str:
        return f"Run({self.url!r})"

    def _repr_html_(self) -> str:
        from curate.report.markup import Markup, element

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
