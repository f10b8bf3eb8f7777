"""Differences between two texts: nothing is lost, nothing invented."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curate.inspect.pairs import CONTEXT_WORDS, MAX_WORDS, as_markup, as_text, differences

WORDS = st.lists(st.sampled_from(["a", "b", "the", "日本語", "x.", "<b>"]), max_size=40).map(" ".join)


@given(WORDS, WORDS)
def test_both_texts_can_be_put_together_again(first: str, second: str) -> None:
    found = differences(first, second)
    if any(kind == "skipped" for kind, _ in found):
        return
    for wanted, left_out in ((first, "added"), (second, "removed")):
        together = "".join(text for kind, text in found if kind != left_out)
        assert "".join(together.split()) == "".join(wanted.split())


def test_what_is_the_same_is_shortened() -> None:
    same = " ".join(f"w{i}" for i in range(100))
    found = differences(f"old {same} end", f"new {same} end")
    assert [kind for kind, _ in found] == ["removed", "added", "same", "skipped"]
    assert found[2].text.split() == [f"w{i}" for i in range(CONTEXT_WORDS)]
    assert as_text(found).startswith("[-old-] {+new+} w0 w1")
    assert as_text(found).endswith(f"[…{101 - CONTEXT_WORDS} words the same…]")


def test_scripts_without_spaces_differ_by_letter() -> None:
    assert as_text(differences("東京は晴れ", "東京は雨")) == "東京は[-晴れ-]{+雨+}"


def test_markup_is_escaped_and_bounded() -> None:
    assert (
        as_markup(differences("<b>", "<i>"))
        == '<p class="diff" dir="auto"><span> &lt;</span><del>b</del><ins>i</ins><span>&gt;</span></p>'
    )
    assert len(as_markup(differences("x " * 900, "y " * 900), 100)) < 300


def test_long_texts_say_where_the_comparison_ends() -> None:
    found = differences("a " * (MAX_WORDS + 5), "a " * (MAX_WORDS + 5))
    assert found[-1] == ("skipped", f"only the first {MAX_WORDS:,} words are compared")
