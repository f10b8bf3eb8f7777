"""The commands that show what a run did: stats, explain, sample, lookup, substrings, clusters, compare, report."""

from __future__ import annotations

import argparse

from curate.base.errors import RequestError
from curate.cli.shared import AddCommand, add_workspace, output, positive, text_of


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_records(command)
    _add_corpus(command)


def _add_records(command: AddCommand) -> None:
    """Commands about records: stats, explain, sample, lookup."""
    parser = command("stats", stats, "show what went in, what was removed and why, and what came out")
    add_workspace(parser)
    parser.add_argument(
        "--label", metavar="meta.FIELD", help="also how often the documents of a window share this label"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")

    parser = command("explain", explain, "show what became of one document, and why")
    add_workspace(parser)
    parser.add_argument("id", metavar="ID", help="the document's id or doc_id; all matches are shown")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    parser = command(
        "sample",
        sample,
        "show some documents with what became of them",
        "The same documents every time, chosen by hash.",
    )
    add_workspace(parser)
    parser.add_argument(
        "--removed-by",
        metavar="R",
        help="only documents removed by this reason (gopher_quality.gopher_short_doc), rule set, stage, or `any`",
    )
    parser.add_argument("--source", metavar="S", help="only documents of this source")
    parser.add_argument("--n", type=positive, default=5, metavar="N", help="documents to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="print them as JSON")

    parser = command(
        "lookup",
        lookup,
        "show which kept documents are like a new text, with their true similarity",
        "Reads the signatures part by part, and texts only of candidates.",
    )
    add_workspace(parser)
    parser.add_argument("file", metavar="FILE", help="a text file in UTF-8, or - for standard input")
    parser.add_argument("--json", action="store_true", help="print the matches as JSON")


def _add_corpus(command: AddCommand) -> None:
    """Commands about the corpus and its windows: substrings, coherence, clusters, compare, report."""
    parser = command(
        "substrings",
        substrings,
        "report exact substrings that occur more than once among the documents left after deduplication",
        "Reads the tokens twice for every 64 million of them; changes nothing.",
    )
    add_workspace(parser)
    parser.add_argument(
        "--tokens", type=positive, default=50, metavar="N", help="tokens of the shortest substring (default: 50)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")

    parser = command(
        "coherence",
        coherence,
        "measure whether documents that share a window belong together, by measures that packing did not use",
        "A sample of windows is compared with the same pieces arranged by hash.",
    )
    add_workspace(parser)
    parser.add_argument(
        "--windows", type=positive, default=100, metavar="N", help="windows of the sample (default: 100)"
    )
    parser.add_argument("--label", metavar="meta.FIELD", help="a label that related records share")
    parser.add_argument("--judge", metavar="MODEL", help="another embedding model: a folder, or an installed package")
    parser.add_argument("--json", action="store_true", help="print the measures as JSON")

    parser = command(
        "clusters",
        clusters,
        "show the clusters of related documents: size, scores, terms, examples",
        "Put the numbers of clusters to leave out into quality.drop_clusters.",
    )
    add_workspace(parser)
    parser.add_argument("--n", type=positive, default=20, metavar="N", help="clusters to show (default: 20)")
    parser.add_argument("--by", choices=("size", "tokens", "score"), default="size", help="which first (default: size)")
    parser.add_argument("--json", action="store_true", help="print them as JSON")

    parser = command(
        "compare",
        compare,
        "show what differs between two runs: recipe, documents and why, measures",
        "Records are matched by doc_id where both runs read the same inputs, else by source and id.",
    )
    parser.add_argument("first", metavar="A", help="a finished run: a folder or s3://bucket/prefix")
    parser.add_argument("second", metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")

    parser = command(
        "report",
        report,
        "write one self-contained page about a run, with plots and examples",
        "No script and nothing fetched: it can be mailed, printed, and read offline.",
    )
    add_workspace(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="the file (default: report.html, of a card card.md)")
    parser.add_argument(
        "--label", metavar="meta.FIELD", help="also how often the documents of a window share this label"
    )
    parser.add_argument(
        "--card",
        action="store_true",
        help="write a data card instead, in Markdown: sources, licences, sizes, removals, processing, known limits",
    )


def stats(options: argparse.Namespace) -> int:
    """``curate stats``."""
    from curate.api import open_run
    from curate.report.statistics import statistics

    return output(open_run(options.workspace).stats(options.label), statistics, options.json)


def explain(options: argparse.Namespace) -> int:
    """``curate explain``."""
    from curate.api import open_run
    from curate.report.statistics import explanations

    return output(open_run(options.workspace).explain(options.id), explanations, options.json)


def sample(options: argparse.Namespace) -> int:
    """``curate sample``."""
    from curate.api import open_run
    from curate.report.statistics import samples

    records = open_run(options.workspace).sample(options.removed_by, options.source, options.n)
    return output(records, samples, options.json)


def lookup(options: argparse.Namespace) -> int:
    """``curate lookup``."""
    from curate.api import open_run
    from curate.report.statistics import matches

    return output(open_run(options.workspace).lookup(text_of(options.file)), matches, options.json)


def substrings(options: argparse.Namespace) -> int:
    """``curate substrings``."""
    from curate.api import open_run
    from curate.report.statistics import substrings as sections

    return output(open_run(options.workspace).substrings(options.tokens), sections, options.json)


def coherence(options: argparse.Namespace) -> int:
    """``curate coherence``."""
    from curate.api import open_run
    from curate.report.statistics import coherence as sections

    measures = open_run(options.workspace).coherence(options.windows, options.label, options.judge)
    return output(measures, sections, options.json)


def clusters(options: argparse.Namespace) -> int:
    """``curate clusters``."""
    from curate.api import open_run
    from curate.report.statistics import clusters as sections

    return output(open_run(options.workspace).clusters(options.n, options.by), sections, options.json)


def compare(options: argparse.Namespace) -> int:
    """``curate compare``."""
    from curate.api import open_run
    from curate.report.statistics import comparison

    return output(open_run(options.first).compare(options.second), comparison, options.json)


def report(options: argparse.Namespace) -> int:
    """``curate report``."""
    from curate.api import open_run

    run = open_run(options.workspace)
    if options.card and options.label:
        raise RequestError("--label is for the page; a card does not show it")
    if options.card:
        path = run.card(options.output or "card.md")
    else:
        path = run.report(options.output or "report.html", options.label)
    print(f"wrote {path}")
    return 0
