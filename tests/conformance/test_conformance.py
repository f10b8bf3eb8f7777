"""Verdicts equal those of datatrove's filters, which live in an environment of their own: ``make conformance``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.compare import PYTHON, agreement, gathered, ours, reference

needs_reference = pytest.mark.skipif(
    not PYTHON.exists(), reason="datatrove's environment is absent: run `make conformance`"
)
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@needs_reference
def test_verdicts_are_those_of_datatrove() -> None:
    cut, whole = gathered([REPOSITORY / "docs", REPOSITORY / "README.md"], 400_000, 100_000)
    hard = [
        "",
        " \n ",
        "{",
        "a\x0bb\x1cc.\u2028d",
        "Lorem ipsum dolor sit. " * 9,
        "• x\n" * 60,
        "日本語。" * 200,
        "#" * 400,
    ]
    hard += [
        "x@y.org é@z.com a@b@c.com <ann.lee+1@mail.example.org> 8.8.8.8 10.0.0.1 v1.2.3.4.5 x@[8.8.8.8]",
        "1.2.3.4" * 9,
    ]
    texts = [*cut, *whole, *hard]
    found = agreement(reference(texts)[0], ours(texts)[0])
    for name, one in found.items():
        # Of texts without a word the reference divides by zero.
        different = [texts[i] for i in one.different if texts[i].strip()]
        assert different == [], name


@pytest.mark.slow
@needs_reference
def test_verdicts_by_language_are_those_of_datatrove_on_the_same_words(tmp_path: Path) -> None:
    pytest.importorskip("icu", reason="the extra `icu` is not installed")
    from tests.conformance import languages
    from tests.conformance.pages import pages
    from tests.quality.test_by_language import write

    for seed, (key, text) in enumerate(languages.texts_of(None).items()):
        words, made = languages.words_of(key), pages(text, 120, seed)
        theirs = languages.reference(made, words, write(tmp_path, key, line_punct_thr="0.3", min_avg_word_length="2"))
        found = languages.compared(theirs, languages.ours(made, key, str(tmp_path), words))
        for name, (_, _, _, different) in found.items():
            told = {i: str(theirs[i][name] or "") if name == "first" else name for i in different}
            assert [i for i in different if not languages.is_explained(made[i], words, told[i])] == [], (key, name)


def test_an_agreement_is_counted_by_reason() -> None:
    names = ("gopher_repetition", "gopher_quality", "c4", "c4_fineweb", "fineweb", "chain", "text", "pii")
    rows = [dict.fromkeys(names, value) for value in ("a", "a", None, "b")]
    mine = [dict.fromkeys(names, value) for value in ("a", "b", "b", "b")]
    found = agreement(rows, mine)
    assert (found["chain"].n, found["chain"].equal, found["chain"].different) == (4, 2, [1, 2])
    assert found["chain"].reasons == {"a": (2, 1, 2), "b": (1, 1, 3)}
    assert found["text"].n == 3  # only where the reference keeps the text


def test_passages_are_the_text_cut_at_paragraphs() -> None:
    from tests.conformance.texts import passages

    text = "".join(f"Paragraph {i} é\n\n" for i in range(100)) + "x" * 90 + "é" * 60
    found = passages(text, 100)
    assert "".join(found) == text
    assert max(len(passage.encode()) for passage in found) <= 100
    assert all(passage.endswith("\n\n") for passage in found if passage.startswith("Para"))
