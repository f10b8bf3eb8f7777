"""A finished run with everything that a user can ask of it; each question loads what it needs when it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.inspect.reader import RunReader

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

    from curate.inspect.audit import Claim
    from curate.inspect.explain import Explanation
    from curate.inspect.lookup import Match
    from curate.inspect.pairs import Nearest, Pair
    from curate.inspect.records import Sample
    from curate.inspect.windows import Windows, WindowText
    from curate.report.plots import Plot
    from curate.tools.export import Exported


class Run(RunReader):
    """A finished run in a workspace, local or in an object store: what :func:`curate.open` and :func:`curate.run` return.

    Nothing in the workspace is changed. Tables and texts are read with the methods of
    :class:`curate.inspect.reader.RunReader`.
    """

    def stats(self, label: str | None = None) -> dict[str, Any]:
        """Statistics of input, removals and output as plain dicts and lists (see :mod:`curate.inspect.stats`).

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
        """The same ``n`` records every time (by hash of doc_id), with what became of them.

        Raises:
            RequestError: nothing was removed by ``removed_by``, or there is no such source.
        """
        from curate.inspect.records import sample

        return sample(self, removed_by=removed_by, source=source, n=n)

    def semantic_sample(self, n: int = 5) -> list[Claim]:
        """``n`` documents removed as semantic duplicates and ``n`` claims of vectors that the texts refused.

        Raises:
            RequestError: the run did not look for semantic duplicates, or none was sampled.
        """
        from curate.inspect.audit import semantic_sample

        return semantic_sample(self, n)

    def lookup(self, text: str) -> list[Match]:
        """Kept documents that are like ``text``, with true similarity and containment; the most similar first.

        Raises:
            RequestError: the run has no signatures, or the text has no words.
        """
        from curate.inspect.lookup import lookup

        return lookup(self, text)

    def lsh(self) -> MinHashLSH:
        """A ``datasketch.MinHashLSH`` over the kept documents, by doc_id; query it with :meth:`minhash`.

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
        """Pairs of a removed duplicate and its keeper with their differences: for each match, and for those removed for it.

        Raises:
            RequestError: there is no such document, or it has no duplicates.
        """
        from curate.inspect.pairs import duplicates

        return duplicates(self, document)

    def neighbors(self, document: str | int, n: int = 10) -> Nearest:
        """The nearest documents that the order used; the nearest first.

        Raises:
            RequestError: there is no such document, several have this id, or it is not on the path.
        """
        from curate.inspect.pairs import neighbors

        return neighbors(self, document, n)

    def search(self, text: str, n: int = 10) -> Nearest:
        """The documents whose vectors are nearest to that of ``text``; the nearest first.

        Raises:
            RequestError: the run has no vectors, or knows no word of the text.
        """
        from curate.inspect.pairs import search

        return search(self, text, n)

    def window(self, shard: int, window: int, number_of_set: int = 0) -> WindowText:
        """One context window with the texts of its pieces and the documents they are from.

        Raises:
            RequestError: there is no such window.
        """
        from curate.inspect.windows import window_text

        return window_text(self, shard, window, number_of_set)

    def substrings(self, tokens: int = 50) -> dict[str, Any]:
        """Exact substrings of at least ``tokens`` tokens that repeat (see :mod:`curate.inspect.lookup`).

        Raises:
            RequestError: the run has no tokens yet, or ``tokens`` is below 2.
        """
        from curate.inspect.lookup import substrings

        return substrings(self, tokens)

    def clusters(self, n: int = 20, by: str = "size") -> list[dict[str, Any]]:
        """Contents of the ``n`` first clusters by ``size``, ``tokens`` or ``score`` (see :mod:`curate.inspect.clusters`).

        Raises:
            RequestError: the run has no clusters yet, or no score to sort by.
        """
        from curate.inspect.clusters import clusters_of

        return clusters_of(self, n, by)

    def coherence(self, windows: int = 100, label: str | None = None, judge: str | None = None) -> dict[str, Any]:
        """Measures of whether documents that share a window belong together (:mod:`curate.inspect.windows`).

        Raises:
            RequestError: the run has no windows, or none with two documents; the label or the model does not exist.
        """
        from curate.inspect.windows import coherence

        return coherence(self, windows, label, judge)

    def compare(self, other: RunReader | str | Path) -> dict[str, Any]:
        """Differences from this run to another: recipe, documents, measures (see :mod:`curate.inspect.clusters`).

        Raises:
            RequestError: one of the runs was stopped before its ledger.
        """
        from curate.inspect.clusters import compare

        return compare(self, other if isinstance(other, RunReader) else RunReader(str(other)))

    def report(self, path: str | Path = "report.html", label: str | None = None) -> Path:
        """Write one self-contained HTML page about the run; ``label`` as for :meth:`stats`.

        Raises:
            RequestError: the file cannot be written, or as :meth:`stats`.
        """
        from curate.report.page import write_report

        return write_report(self, path, label)

    def card(self, path: str | Path = "card.md") -> Path:
        """Write a data card in Markdown.

        Raises:
            RequestError: the file cannot be written.
        """
        from curate.report.page import write_card

        return write_card(self, path)

    def plot_funnel(self) -> Plot:
        """Records left after each stage."""
        from curate.report.plots import funnel

        return funnel(self.stats())

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

        return lengths(self.stats())

    def export(self, to: str | Path, form: str = "parquet") -> Exported:
        """Write the kept documents as text, with metadata and decisions, to a folder or ``s3://bucket/prefix``.

        Raises:
            RequestError: ``form`` is not ``parquet`` or ``jsonl.zst``, or ``to`` holds other files.
        """
        from curate.tools.export import export

        return export(self, str(to), form)

    def shard_places(self) -> list[dict[str, Any]]:
        """The folders of the shards: {format, path, files, bytes} for each format, and for the mirror if there is one."""
        from curate.inspect.stats import shard_places

        return shard_places(self)

    def windows(self) -> Windows:
        """The context windows: iterate over them, or look one up by (shard, window)."""
        from curate.inspect.windows import Windows

        return Windows(self)

    def __repr__(self) -> str:
        return f"Run({self.url!r})"

    def _repr_html_(self) -> str:
        from curate.base.markup import Markup, element

        def row(kind: str, name: str, *numbers: str, style: str | None = None) -> Markup:
            return element("tr", element(kind, name), *(element(kind, number, style=style) for number in numbers))

        head = row("th", "table", "rows", "stored")
        rows = [
            row("td", name, f"{table.rows:,}", f"{table.bytes / 1e6:,.1f} MB", style="text-align:right")
            for name, table in self.snapshots.items()
        ]
        drawn = [Markup(self.plot_funnel().svg)] if self.has("documents") else []
        title = element("p", element("b", self.name), " ", element("code", self.url))
        return element("div", title, *drawn, element("table", element("thead", head), element("tbody", *rows)))
