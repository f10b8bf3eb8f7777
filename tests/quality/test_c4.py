import itertools
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.text import cut_spans
from curate.quality.c4 import C4Lines, c4_lines, line_parameters
from curate.quality.signals import measure

sys.path.insert(0, str(Path(__file__).parent))
import reference

PUBLISHED = line_parameters("default", {})


def run(text: str, **changes: float | None) -> tuple[C4Lines, str]:
    column = pa.array([text], pa.large_string())
    lines = c4_lines(column, PUBLISHED | changes)
    return lines, cut_spans(column, lines.rows, lines.starts, lines.ends)[0].as_py()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a b " + "x" * 1001 + " c.", "c4.too_long_word"),
        ("no terminal punctuation", "c4.no_terminal_punc"),
        ("it trails off...", "c4.no_terminal_punc"),
        ("it trails off…", "c4.no_terminal_punc"),
        ("the end. [1]", "c4.no_terminal_punc"),  # a space is left behind the citation
        ("two words.", "c4.too_few_words"),
        ("please enable JavaScript now.", "c4.javascript"),
        ("read our Privacy Policy here.", "c4.policy"),
        ("this site uses cookies, friend.", "c4.policy"),
    ],
)
def test_lines_that_go(line: str, reason: str) -> None:
    lines, text = run(f"This line is kept.\n{line}\nThis one is too!")
    assert text == "This line is kept.\nThis one is too!"
    assert lines.reasons.to_pylist() == [reason]
    assert lines.starts.tolist() == [19]
    assert lines.columns["c4_kept_lines"].tolist() == [2]


@pytest.mark.parametrize("end", [".", "?", "!", '"', "'"])
def test_lines_that_stay(end: str) -> None:
    assert run(f"one two three{end}")[1] == f"one two three{end}"
    word = "x" * 1000
    assert run(f"one two {word}{end}", max_word_length=1001)[1] != ""


def test_citations_white_space_and_separators() -> None:
    lines, text = run("  A fact[12] was[edit] seen[citation needed] here[].  \r\n\r\nAnd one more.\n\n")
    assert text == "A fact was seen here.\nAnd one more."
    assert set(lines.reasons.to_pylist()) == {"c4.citation", "c4.whitespace", "c4.no_terminal_punc"}
    assert run("one two [a] three.")[1] == "one two [a] three."
    assert run("one [1] two three.", remove_citations=None)[1] == "one [1] two three."


def test_a_space_before_a_citation_is_forgiven_when_asked() -> None:
    assert run("This is the end. [1]")[1] == ""
    assert run("This is the end. [1]", trim_after_citations=1)[1] == "This is the end."


def test_rules_can_be_off() -> None:
    assert run("a title with no end", filter_no_terminal_punct=None)[1] == "a title with no end"
    assert run("Go.", min_words_per_line=None)[1] == "Go."
    assert run("i like javascript.", filter_javascript=0)[1] == "i like javascript."
    assert run("the privacy policy.", filter_policy=None)[1] == "the privacy policy."


def test_document_columns() -> None:
    lines, _ = run("Fine line one here.\nlorem ipsum\nA { in a line.\nLorem Ipsum is here.\njavascript { is here.\n")
    assert lines.columns["c4_curly_bracket"].tolist() == [2]  # the second line that passes
    assert lines.columns["c4_lorem_ipsum"].tolist() == [3]
    lines, _ = run("lorem ipsum {\n}")
    assert lines.columns["c4_lorem_ipsum"].tolist() == [0]  # its lines do not pass


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("One two three.", 1),
        ("One two. Three four! Five?", 3),
        ("Mr. Smith went to the U.S. today.", 1),
        ('He said "go now." Then left.', 2),
        ("Well... that is it?! Yes indeed.", 2),
        ("One two.  Three four.", 2),
        ("One two.Three four.", 2),
    ],
)
def test_sentences_are_the_sentencizers(line: str, sentences: int) -> None:
    column = pa.array([line, f"{line}\n\n {line}\t\n"], pa.large_string())
    assert measure(column, ("c4",))["c4_sentences"].to_pylist() == [sentences, 2 * sentences]


def test_nothing_left() -> None:
    assert run("nothing here")[1] == ""
    assert run("")[1] == ""
    assert run(" \n ")[1] == ""
    assert run("[1] [2] [3]", filter_no_terminal_punct=None)[1] == ""


pieces = st.sampled_from(
    [
        "a b c.",
        "word",
        " ",
        "\n",
        "\n\n",
        "\r\n",
        "[1]",
        "[edit]",
        "x y z!",
        "javascript",
        "use cookies",
        "...",
        "é",
        "\u3000",
        '"',
    ]
)


@settings(max_examples=200)
@given(st.lists(pieces, max_size=25).map("".join), st.booleans())
def test_equals_the_rules_in_plain_python(text: str, terminal: bool) -> None:
    lines, edited = run(text, filter_no_terminal_punct=1 if terminal else None)
    assert edited == reference.c4_text(text, terminal)
    spans = list(zip(lines.starts.tolist(), lines.ends.tolist(), strict=True))
    assert all(start < end for start, end in spans)
    assert all(end <= following for (_, end), (following, _) in itertools.pairwise(spans))


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text(texts: list[str]) -> None:
    column = pa.array(texts, pa.large_string())
    lines = c4_lines(column, PUBLISHED | {"filter_no_terminal_punct": None})
    assert len(cut_spans(column, lines.rows, lines.starts, lines.ends)) == len(texts)
