"""The commands that show what a run did: stats, explain, sample, lookup, substrings, clusters, compare, report."""

from __future__ import annotations

import argparse

from curate.base.errors import RequestError
from curate.cli.shared import AddCommand, add_workspace, output, positive, text_of


def add(command: AddCommand) -> None:
    """Their arguments."""
    made = command("stats", stats, "show what went in, what was removed and why, and what came out")
    add_workspace(made)
    made.add_argument("--label", metavar="meta.FIELD", help="also how often the documents of a window share this label")
    made.add_argument("--json", action="store_true", help="print the numbers as JSON")

    made = command("explain", explain, "show what became of one document, and why")
    add_workspace(made)
    made.add_argument("id", metavar="ID", help="the document's id or doc_id; all matches are shown")
    made.add_argument("--json", action="store_true", help="print the findings as JSON")

    made = command(
        "sample",
        sample,
        "show some documents with what became of them",
        "The same documents every time, chosen by hash.",
    )
    add_workspace(made)
    made.add_argument(
        "--removed-by",
        metavar="R",
        help="only documents removed by this reason (gopher_quality.gopher_short_doc), rule set, stage, or `any`",
    )
    made.add_argument("--source", metavar="S", help="only documents of this source")
    made.add_argument("--n", type=positive, default=5, metavar="N", help="documents to show (default: 5)")
    made.add_argument("--json", action="store_true", help="print them as JSON")

    made = command(
        "lookup",
        lookup,
        "show which kept documents are like a new text, with their true similarity",
        "Signatures are read part by part, and the texts of candidates alone.",
    )
    add_workspace(made)
    made.add_argument("file", metavar="FILE", help="a text file in UTF-8, or - for standard input")
    made.add_argument("--json", action="store_true", help="print the matches as JSON")

    made = command(
        "substrings",
        substrings,
        "report exact substrings that occur more than once among the documents left after deduplication",
        "Tokens are read twice for every 64 million of them; nothing is changed.",
    )
    add_workspace(made)
    made.add_argument(
        "--tokens", type=positive, default=50, metavar="N", help="tokens of the shortest substring (default: 50)"
    )
    made.add_argument("--json", action="store_true", help="print the report as JSON")

    made = command(
        "coherence",
        coherence,
        "measure whether what shares a window belongs together, by what the windows were not made with",
        "A sample of windows is compared with the same pieces arranged by hash.",
    )
    add_workspace(made)
    made.add_argument("--windows", type=positive, default=100, metavar="N", help="windows of the sample (default: 100)")
    made.add_argument("--label", metavar="meta.FIELD", help="a label that related records share")
    made.add_argument("--judge", metavar="MODEL", help="another embedding model: a folder, or an installed package")
    made.add_argument("--json", action="store_true", help="print the measures as JSON")

    made = command(
        "clusters",
        clusters,
        "show what lies in the clusters of related documents: size, scores, terms, examples",
        "The numbers of those to leave out go into quality.drop_clusters.",
    )
    add_workspace(made)
    made.add_argument("--n", type=positive, default=20, metavar="N", help="clusters to show (default: 20)")
    made.add_argument("--by", choices=("size", "tokens", "score"), default="size", help="which first (default: size)")
    made.add_argument("--json", action="store_true", help="print them as JSON")

    made = command(
        "compare",
        compare,
        "show what differs between two runs: recipe, documents and why, measures",
        "Records are matched by doc_id where both runs read the same inputs, else by source and id.",
    )
    made.add_argument("first", metavar="A", help="a finished run: a folder or s3://bucket/prefix")
    made.add_argument("second", metavar="B", help="another one")
    made.add_argument("--json", action="store_true", help="print the differences as JSON")

    made = command(
        "report",
        report,
        "write one self-contained page about a run, with plots and examples",
        "No script and nothing fetched: it can be mailed, printed, and read offline.",
    )
    add_workspace(made)
    made.add_argument("-o", "--output", metavar="FILE", help="the file (default: report.html, of a card card.md)")
    made.add_argument("--label", metavar="meta.FIELD", help="also how often the documents of a window share this label")
    made.add_argument(
        "--card",
        action="store_true",
        help="write a data card instead, in Markdown: sources, licences, sizes, removals, processing, known limits",
    )


def stats(options: argparse.Namespace) -> int:
    """``curate stats``."""
    from curate.api import open_run
    from curate.report.render import sections

    output(open_run(options.workspace).stats(options.label), sections, options.json)
    return 0


def explain(options: argparse.Namespace) -> int:
    """``curate explain``."""
    from curate.api import open_run
    from curate.inspect.explain import sections

    found = open_run(options.workspace).explain(options.id)
    output([one.as_dict() for one in found], sections, options.json)
    return 0


def sample(options: argparse.Namespace) -> int:
    """``curate sample``."""
    from curate.api import open_run
    from curate.inspect.sample import sections

    found = open_run(options.workspace).sample(options.removed_by, options.source, options.n)
    output([one.as_dict() for one in found], sections, options.json)
    return 0


def lookup(options: argparse.Namespace) -> int:
    """``curate lookup``."""
    from curate.api import open_run
    from curate.inspect.lookup import sections

    found = open_run(options.workspace).lookup(text_of(options.file))
    output([one.as_dict() for one in found], sections, options.json)
    return 0


def substrings(options: argparse.Namespace) -> int:
    """``curate substrings``."""
    from curate.api import open_run
    from curate.inspect.substrings import sections
    from curate.inspect.substrings import substrings as look

    output(look(open_run(options.workspace), options.tokens), sections, options.json)
    return 0


def coherence(options: argparse.Namespace) -> int:
    """``curate coherence``."""
    from curate.api import open_run
    from curate.inspect.coherence import sections

    found = open_run(options.workspace).coherence(options.windows, options.label, options.judge)
    output(found, sections, options.json)
    return 0


def clusters(options: argparse.Namespace) -> int:
    """``curate clusters``."""
    from curate.api import open_run
    from curate.inspect.clusters import clusters_of, sections

    output(clusters_of(open_run(options.workspace), options.n, options.by), sections, options.json)
    return 0


def compare(options: argparse.Namespace) -> int:
    """``curate compare``."""
    from curate.api import open_run
    from curate.inspect.compare import sections

    output(open_run(options.first).compare(options.second), sections, options.json)
    return 0


def report(options: argparse.Namespace) -> int:
    """``curate report``."""
    from curate.api import open_run

    run = open_run(options.workspace)
    if options.card and options.label:
        raise RequestError("--label is for the page; a card does not show it")
    if options.card:
        made = run.card(options.output or "card.md")
    else:
        made = run.report(options.output or "report.html", options.label)
    print(f"wrote {made}")
    return 0
