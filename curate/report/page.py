"""``curate report``: one self-contained HTML page about a run: no script, nothing fetched, light and dark, printable.

Everything from the corpus is escaped (:mod:`curate.base.markup`), and the page forbids scripts and requests to itself. It
reads a bounded amount: counters, aggregates, and samples by hash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from curate.base import amounts
from curate.base.errors import RequestError
from curate.base.markup import Markup, element, join
from curate.base.markup import text as escaped
from curate.driver.alarms import describe
from curate.inspect.reader import RunReader
from curate.inspect.stats import collect
from curate.report.page_sections import sections_of
from curate.report.statistics import removal_rows, source_rows


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
    kept = f"{counts['kept']:,} ({amounts.share(counts['kept'], counts['input'])})"
    numbers = {"input records": f"{counts['input']:,}", "kept": kept}
    if "packing" in stats:
        packed = stats["packing"]["counters"]
        numbers |= {f"{name} in the shards": f"{packed[name]:,}" for name in ("tokens", "windows")}
    text = f"State {run.state.number} of its workspace, made with the {run.state.engine} engine."
    terms = [element("div", element("dt", name), element("dd", value)) for name, value in numbers.items()]
    return join([element("p", text, class_="muted"), element("dl", *terms, class_="numbers")])


REMOVALS = 30
_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]()#+!|~"})
"""Signs of Markdown; those of HTML are escaped by :func:`curate.base.markup.text`."""


def card(run: RunReader) -> str:
    """The data card of a run."""
    return "\n".join(_lines(run)) + "\n"


def plain(value: Any) -> str:
    """``value`` as text of one line that Markdown leaves as it is."""
    text = value if isinstance(value, str) else amounts.number(value)
    return escaped(" ".join(text.split()).translate(_SPECIAL))


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(plain(cell) for cell in row)} |"
    yield ""


def _lines(run: RunReader) -> Iterator[str]:
    stats = collect(run)
    counts = stats["funnel"]
    yield f"# Data card: {plain(run.name)}\n"
    share = amounts.share(counts["kept"], counts["input"])
    yield f"{counts['kept']:,} of {counts['input']:,} input records are kept ({share})."
    if "packing" in stats:
        packed = stats["packing"]["counters"]
        yield f"They fill {packed['windows']:,} context windows with {packed['tokens']:,} tokens."
    yield "\n## Sources and licences\n"
    if "sources" in stats:
        head = ("source", "licence", "records", "kept", "tokens", "tokens with copies", "share")
        yield from _table(head, source_rows(stats, "licence", "input", "kept", "tokens", "tokens_with_copies"))
        missing = plain(", ".join(source["source"] for source in stats["sources"] if not source["licence"]))
        if missing:
            yield f"The recipe states no licence for: {missing}. Write it as `licence` beside the input.\n"
    yield from _languages(stats)
    yield "## What was removed\n"
    yield from _table(("stage", "reason", "records", "share of the input"), removal_rows(counts)[:REMOVALS])
    yield from _processing(run)
    yield from _limits(run, stats)


def _languages(stats: dict[str, Any]) -> Iterator[str]:
    total: Counter[str] = Counter()
    for codes in stats.get("languages", {}).values():
        total.update(codes)
    if total:
        yield "## Languages\n"
        yield "As a model identifies them, before any document is removed.\n"
        yield from _table(
            ("language", "documents"), sorted(total.items(), key=lambda item: (-item[1], item[0]))[:REMOVALS]
        )


def _processing(run: RunReader) -> Iterator[str]:
    """What the recipe does, in the order of the stages."""
    recipe = run.recipe
    yield "## Processing\n"
    for source in recipe.sources:
        quality = recipe.source_quality(source)
        if quality is None:
            yield f"- Quality of {plain(source)}: no rules."
            continue
        parts = [f"rules {', '.join(quality.rules) or 'none'} (preset {quality.preset}, kind {quality.kind})"]
        parts += [f"languages {', '.join(quality.languages)}"] if quality.languages else []
        if quality.classifier:
            parts.append(f"a classifier with a score of at least {quality.classifier.min_score:g}")
        parts += [f"masked: {', '.join(quality.pii.mask)}"] if quality.pii.mask else []
        yield f"- Quality of {plain(source)}: {plain('; '.join(parts))}."
    if recipe.dedup == "off":
        yield "- Duplicates: kept."
    else:
        near, semantic = recipe.dedup.near, recipe.dedup.semantic
        parts = ["exact duplicates removed"] if recipe.dedup.exact else []
        parts += [f"near duplicates removed from a Jaccard similarity of {near.threshold:g}"] if near != "off" else []
        parts += (
            [
                f"semantic duplicates removed from a cosine of {semantic.threshold:g} and a word overlap of {semantic.overlap:g}"
            ]
            if semantic != "off"
            else []
        )
        if recipe.dedup.decontaminate:
            parts.append(f"kept apart from the evaluation sets {', '.join(recipe.dedup.decontaminate.sets)}")
        yield f"- Duplicates: {plain('; '.join(parts) or 'kept')}."
    yield f"- Order: {recipe.order.method}. Upsampling: {recipe.upsample.method}. Windows: {recipe.pack.method}."
    for name, version in run.state.versions.items():
        if name in ("curate", "python"):
            yield f"- Made with {name} {version}."
    yield ""


def _limits(run: RunReader, stats: dict[str, Any]) -> Iterator[str]:
    """What follows from the recipe, and what the maker has to add."""
    yield "## Known limits\n"
    for alarm in stats["alarms"]:
        yield f"- {plain(describe(alarm))}."
    sections = [quality for quality in map(run.recipe.source_quality, run.recipe.sources) if quality is not None]
    if masked := ", ".join(sorted({kind for quality in sections for kind in quality.pii.mask})):
        yield f"- Personal data is masked by patterns ({masked}); names and other kinds stay."
    else:
        yield "- Personal data is counted, not masked."
    if run.recipe.dedup == "off" or run.recipe.dedup.decontaminate is None:
        yield "- The corpus was not compared with evaluation sets."
    if "duplicates" in stats and run.recipe.dedup != "off":
        yield "- Near duplicates are found by MinHash; a small share of pairs above the threshold is missed."
    if not any(quality.languages for quality in sections):
        yield "- No language was asked for; texts of any language may be in it."
    yield "- To be written by its maker: what the corpus is for, who may be affected, and how errors can be reported."
