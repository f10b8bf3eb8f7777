"""The commands that show what a run did: each prints what one method of :class:`curate.Run` returns."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from curate.base.errors import RequestError
from curate.cli.shared import AddCommand, CommandParser, output, positive, text_of

if TYPE_CHECKING:
    from curate.finished_run import Run


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    parser = command(stats).workspace()
    _label(parser)
    parser.flag("--json", "print the numbers as JSON")

    parser = command(explain).workspace()
    parser.value("id", "ID", "the document's id or doc_id; all matches are shown")
    parser.flag("--json", "print the findings as JSON")

    parser = command(sample).workspace()
    removed_by = "only documents removed by this reason (gopher_quality.gopher_short_doc), rule set, stage, or `any`"
    parser.value("--removed-by", "R", removed_by)
    parser.value("--source", "S", "only documents of this source")
    parser.flag("--semantic", "removed semantic duplicates beside their keepers, and pairs that the texts say are none")
    parser.value("--n", "N", "documents to show (default: 5)", type=positive, default=5)
    parser.flag("--json", "print them as JSON")

    parser = command(lookup).workspace()
    parser.value("file", "FILE", "a text file in UTF-8, or - for standard input")
    parser.flag("--json", "print the matches as JSON")

    parser = command(substrings).workspace()
    parser.value("--tokens", "N", "tokens of the shortest substring (default: 50)", type=positive, default=50)
    parser.flag("--json", "print the report as JSON")

    parser = command(coherence).workspace()
    parser.value("--windows", "N", "windows of the sample (default: 100)", type=positive, default=100)
    parser.value("--label", "meta.FIELD", "a label that related records share")
    parser.value("--judge", "MODEL", "another embedding model: a folder, or an installed package")
    parser.flag("--json", "print the measures as JSON")

    parser = command(clusters).workspace()
    parser.value("--n", "N", "clusters to show (default: 20)", type=positive, default=20)
    by = ("size", "tokens", "score")
    parser.value("--by", None, "which first (default: size)", choices=by, default="size")
    parser.flag("--json", "print them as JSON")

    parser = command(compare)
    parser.value("workspace", "A", "a finished run: a folder or s3://bucket/prefix")
    parser.value("second", "B", "another one")
    parser.flag("--json", "print the differences as JSON")

    parser = command(report).workspace()
    parser.value("-o --output", "FILE", "the file (default: report.html, of a card card.md)")
    _label(parser)
    card = "write a data card instead, in Markdown: sources, licences, sizes, removals, processing, known limits"
    parser.flag("--card", card)


def _label(parser: CommandParser) -> None:
    parser.value("--label", "meta.FIELD", "also how often the documents of a window share this label")


def _opened(options: argparse.Namespace) -> Run:
    from curate.api import open_run

    return open_run(options.workspace)


def _answer(answer: Any, sections: str, options: argparse.Namespace) -> int:
    """Print an answer as JSON, or by the function ``sections`` of the report."""
    from curate.report import statistics

    return output(answer, getattr(statistics, sections), options.json)


def stats(options: argparse.Namespace) -> int:
    """Show what went in, what was removed and why, and what came out."""
    return _answer(_opened(options).stats(options.label), "statistics", options)


def explain(options: argparse.Namespace) -> int:
    """Show what became of one document, and why."""
    return _answer(_opened(options).explain(options.id), "explanations", options)


def sample(options: argparse.Namespace) -> int:
    """Show some documents with what became of them.

    The same documents every time, chosen by hash.
    """
    if options.semantic:
        if options.removed_by or options.source:
            raise RequestError("--semantic shows pairs of all sources; leave out --removed-by and --source")
        return _answer(_opened(options).semantic_sample(options.n), "claims", options)
    return _answer(_opened(options).sample(options.removed_by, options.source, options.n), "samples", options)


def lookup(options: argparse.Namespace) -> int:
    """Show which kept documents are like a new text, with their true similarity.

    Reads the signatures part by part, and texts only of candidates.
    """
    return _answer(_opened(options).lookup(text_of(options.file)), "matches", options)


def substrings(options: argparse.Namespace) -> int:
    """Report exact substrings that occur more than once among the documents left after deduplication.

    Reads the tokens twice for every 64 million of them; changes nothing.
    """
    return _answer(_opened(options).substrings(options.tokens), "substrings", options)


def coherence(options: argparse.Namespace) -> int:
    """Measure whether documents that share a window belong together, by measures that packing did not use.

    A sample of windows is compared with the same pieces arranged by hash.
    """
    return _answer(_opened(options).coherence(options.windows, options.label, options.judge), "coherence", options)


def clusters(options: argparse.Namespace) -> int:
    """Show the clusters of related documents: size, scores, terms, examples.

    Put the numbers of clusters to leave out into quality.drop_clusters.
    """
    return _answer(_opened(options).clusters(options.n, options.by), "clusters", options)


def compare(options: argparse.Namespace) -> int:
    """Show what differs between two runs: recipe, documents and why, measures.

    Records are matched by doc_id where both runs read the same inputs, else by source and id.
    """
    return _answer(_opened(options).compare(options.second), "comparison", options)


def report(options: argparse.Namespace) -> int:
    """Write one self-contained page about a run, with plots and examples.

    No script and nothing fetched: it can be mailed, printed, and read offline.
    """
    run = _opened(options)
    if options.card and options.label:
        raise RequestError("--label is for the page; a card does not show it")
    path = options.output or ("card.md" if options.card else "report.html")
    print(f"wrote {run.card(path) if options.card else run.report(path, options.label)}")
    return 0
