"""``curate report``: one self-contained HTML page about a run: no script, nothing fetched, light and dark, printable.

Everything from the corpus is escaped (:mod:`curate.base.markup`), and the page forbids scripts and requests to itself. It
reads a bounded amount: counters, aggregates, and samples by hash.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from curate.base import amounts
from curate.base.errors import RequestError
from curate.base.markup import Markup, element, join
from curate.inspect.reader import RunReader
from curate.inspect.stats import collect
from curate.report.card import card
from curate.report.page_sections import sections_of


def write_report(run: RunReader, path: str | Path, label: str | None = None) -> Path:
    """Write the page to a file.

    Raises:
        RequestError: the file cannot be written.
    """
    return _write(Path(path), report(run, label))


def write_card(run: RunReader, path: str | Path) -> Path:
    """Write the data card to a file.

    Raises:
        RequestError: the file cannot be written.
    """
    return _write(Path(path), card(run))


def _write(place: Path, content: str) -> Path:
    """Write a whole file or none."""
    partial = place.with_name(f".{place.name}.partial")
    try:
        partial.write_text(content, encoding="utf-8")
        partial.replace(place)
    except OSError as error:
        raise RequestError(f"{place} cannot be written: {error.strerror}") from None
    finally:
        if partial.is_file():
            partial.unlink()
    return place


def report(run: RunReader, label: str | None = None) -> str:
    """The page; with ``label``, also how often the documents of a window share it."""
    stats = collect(run, label)
    sections = list(sections_of(run, stats))
    title = f"{run.name}: report of a run"
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    links = [element("li", element("a", heading, href=f"#{anchor}")) for anchor, heading, _ in sections]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("style", Markup(files("curate.report").joinpath("report.css").read_text(encoding="utf-8"))),
    )
    contents = [
        element("section", element("h2", heading, id=f"{anchor}-h"), content, id=anchor, aria_labelledby=f"{anchor}-h")
        for anchor, heading, content in sections
    ]
    made_by = "Made by curate report from the tables of the run; nothing in this page is fetched."
    body = element(
        "body",
        element("a", "Skip to the contents", href="#main", class_="skip"),
        element("header", element("h1", run.name), _summary(run, stats)),
        element("nav", element("ul", *links), aria_label="Sections"),
        element("main", *contents, id="main"),
        element("footer", element("p", made_by)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _summary(run: RunReader, stats: dict[str, Any]) -> Markup:
    counts = stats["funnel"]
    numbers: list[tuple[str, str]] = [
        ("input records", f"{counts['input']:,}"),
        ("kept", f"{counts['kept']:,} ({amounts.share(counts['kept'], counts['input'])})"),
    ]
    if "packing" in stats:
        numbers += [
            (f"{name} in the shards", f"{stats['packing']['counters'][name]:,}") for name in ("tokens", "windows")
        ]
    text = f"State {run.state.number} of its workspace, made with the {run.state.engine} engine."
    terms = [element("div", element("dt", name), element("dd", value)) for name, value in numbers]
    return join([element("p", text, class_="muted"), element("dl", *terms, class_="numbers")])
