"""The report: whole, escaped, accessible, and the same when made again; looked at in a browser where there is one."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

import curate
from curate.base.errors import RequestError
from curate.cli import main
from curate.finished_run import Run
from curate.report.page import report
from tests import hand

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = (
    "<script>alert(1)</script></style><img src=x onerror=alert(2)>\"'><b>&amp;\x00\x1b[31m\u202e words are in here"
)
VOID = {"meta", "br", "hr", "wbr"}


class Page(HTMLParser):
    """The elements of a page, in order; fails when one is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose corpus tries to be part of the page: ids, texts, a reject, the licence, the name of the recipe."""
    for doc_id, (own, source, text) in list(hand.TEXTS.items()):
        monkeypatch.setitem(hand.TEXTS, doc_id, (own + HOSTILE, source, f"{HOSTILE} {text}"))
    recipe = {**hand.RECIPE, "name": HOSTILE}
    recipe["inputs"] = [{**entry, "licence": HOSTILE} for entry in hand.RECIPE["inputs"]]
    return curate.open(hand.build(tmp_path / "ws").finish(recipe))


def test_nothing_of_the_corpus_becomes_markup(hostile: Run) -> None:
    page = report(hostile)
    found = Page(page)
    assert found.named("script", "img", "b", "iframe", "link", "object") == []
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert page.count("<style>") == 1 + len(found.named("svg"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\x00" not in page
    assert "\x1b" not in page


def test_nothing_is_fetched(workspace: str) -> None:
    page = report(curate.open(workspace))
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert "url(" not in page
    assert "default-src &#x27;none&#x27;" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert str(Path(workspace).parent) not in page


def test_accessible(hostile: Run) -> None:
    found = Page(report(hostile))
    assert found.named("html")[0]["lang"] == "en"
    assert [len(found.named(tag)) for tag in ("h1", "main", "nav", "header", "footer")] == [1] * 5
    ids = Counter(attributes["id"] for _, attributes in found.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    for target in found.named("a"):
        assert str(target["href"]).removeprefix("#") in ids
    for drawing in found.named("svg"):
        assert drawing["role"] == "img"
        assert all(name in ids for name in str(drawing["aria-labelledby"]).split())
    assert len(found.named("table")) == len(found.named("caption")) > 8
    assert all(cell.get("scope") in ("row", "col") for cell in found.named("th"))
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb (WCAG 2)."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_can_be_read() -> None:
    css = files("curate.report").joinpath("report.css").read_text()
    themes = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", block)) for block in re.findall(r":root \{([^}]*)\}", css)]
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        for ground in ("ground", "soft", "del", "ins"):
            for ink in ("ink", "muted", "link") if ground in ("ground", "soft") else ("ink",):
                low, high = sorted((luminance(theme[ground]), luminance(theme[ink])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, ink, theme)


def test_says_what_the_tables_say(workspace: str) -> None:
    page = report(curate.open(workspace))
    assert page == report(curate.open(workspace))
    for words in (
        "4 (44.4 %)",  # kept
        "gopher_quality.gopher_short_doc: words = 2, below 50",
        "CC0-1.0",
        "near, similarity 0.9: f (web) removed, e (web) kept",
        "<del> are</del><ins> were</ins>",
        "State 1 of its workspace",
        "vocab_size: 300",
    ):
        assert words in page, words


@pytest.mark.parametrize("last", ["rejects", "verdicts", "paragraphs", "clusters", "order", "windows"])
def test_of_a_run_that_was_stopped(last: str, builder: hand.Builder) -> None:
    names = list(builder.snapshots)
    first = {"rejects": "documents"}.get(last, last)
    for name in names[names.index(first) + 1 :]:
        del builder.snapshots[name]
    Page(report(curate.open(builder.finish())))


def test_command_writes_a_whole_file_or_none(
    workspace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "page.html"
    assert main(["report", workspace, "-o", str(place)]) == 0
    assert capsys.readouterr().out == f"wrote {place}\n"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ""] == ["page.html"]
    with pytest.raises(RequestError, match="cannot be written: No such file or directory"):
        curate.open(workspace).report(tmp_path / "nowhere" / "page.html")


def test_card(hostile: Run, workspace: str, tmp_path: Path) -> None:
    card = curate.open(workspace).card(tmp_path / "card.md").read_text()
    assert "4 of 9 input records are kept (44.4 %)." in card
    assert "| books | CC0-1.0 | 3 | 2 | 14 | 14 |" in card
    assert "states no licence for: web." in card
    assert "| dedup | near | 1 | 11.1 % |" in card
    assert "near duplicates removed from a Jaccard similarity of 0.8" in card
    assert "not masked" in card
    assert "<script" not in hostile.card(tmp_path / "hostile.md").read_text()


def test_in_a_browser(hostile: Run, tmp_path: Path) -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser to look with; one of {', '.join(BROWSERS)} would do")
    # The page forbids scripts; for measuring it, a copy allows this one.
    measure = "<script>document.body.dataset.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth</script>"
    page = report(hostile)
    copy = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("</body>", measure + "</body>")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "copy.html").write_text(copy, encoding="utf-8")

    def look(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        place = (tmp_path / name).as_uri()
        common = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path}/profile",
        )
        return subprocess.run(
            [browser, *common, *options, place], capture_output=True, text=True, timeout=120, check=False
        )

    for width in (500, 1280):  # a headless window is at least 500 wide
        shot = tmp_path / f"{width}.png"
        done = look("page.html", f"--window-size={width},2000", f"--screenshot={shot}")
        assert shot.stat().st_size > 10_000
        assert ":CONSOLE" not in done.stderr
        measured = look("copy.html", f"--window-size={width},2000", "--dump-dom").stdout
        assert 'data-wide="0"' in measured, "the page is wider than the window"
