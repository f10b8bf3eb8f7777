"""No text stops the quality stage: whatever Arrow holds as a string is measured, cut and masked, each document alone."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.base.edits import apply_edits
from curate.quality.c4 import line_parameters
from curate.quality.language import find_model
from curate.quality.pii import REPLACEMENTS
from curate.quality.rule_sets import RULE_SETS
from curate.quality.signals import measure_signals
from curate.quality.verdicts import decide

RULES = {"web": line_parameters("c4", {}, "corrected")}
MASKED = {"web": {kind: list(texts) for kind, texts in REPLACEMENTS.items()}}


def measured(texts: list[str], model: str | None = None) -> tuple[list[dict], list[str]]:
    """(signals of every text, texts as edited)."""
    ids = pa.array(range(len(texts)), pa.uint64())
    batch = pa.table({"doc_id": ids, "source": ["web"] * len(texts), "text": pa.array(texts, pa.large_string())})
    signals, edits = measure_signals(batch, model, {}, RULES, MASKED, list(RULE_SETS))
    spans = [edits[name].to_numpy().astype(np.int64) for name in ("doc_id", "start", "end")]
    edited = apply_edits(batch["text"], *spans, edits["replacement"].combine_chunks())
    edited.validate(full=True)  # whole UTF-8 characters only
    decide(signals, list(RULE_SETS), preset="gopher")
    return signals.to_pylist(), edited.to_pylist()


scripts = st.one_of(
    st.text(max_size=80),
    st.text("\x00\x01\x08\x0b\x0c\x1c\x1d\x1e\x7f\x85\u2028\u2029\ufeff\u200f\u202e \n\r\t.", max_size=60),
    st.text("אבגד.,؟ ءابت\u200f\u202e \n!", max_size=60),
    st.text("日本語。テスト、ひらがな　\n!「」", max_size=60),
    st.text("ก ข ค ๆ ฯ ကခ។ ", max_size=40),
    st.text("😀👨‍👩‍👧🏽é́ \n.", max_size=40),
    st.text("{}[]0123456789@.-+()editcaonv \n", max_size=60),
    st.binary(max_size=60).map(lambda data: data.decode("utf-8", "replace")),
    st.binary(max_size=60).map(lambda data: data.decode("latin-1")),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(scripts, max_size=4))
@example(["\ud7ff\ue000", "a\u0300" * 30, "\n" * 50, "x\r\n" * 20])
def test_any_text_is_measured_as_if_it_were_alone(texts: list[str]) -> None:
    rows, edited = measured(texts)
    assert len(rows) == len(edited) == len(texts)
    for text, row, left in zip(texts, rows, edited, strict=True):
        assert (row["n_bytes"], row["n_chars"]) == (len(text.encode()), len(text))
        alone, alone_left = measured([text])
        assert str({**alone[0], "doc_id": 0}) == str({**row, "doc_id": 0})
        assert left == alone_left[0]
        for name, value in row.items():
            if isinstance(value, float) and not math.isnan(value) and name.endswith(("_frac", "_ratio")):
                assert value >= 0, name


def test_lone_surrogates_do_not_get_here() -> None:
    with pytest.raises(UnicodeEncodeError):
        pa.array(["\ud800"], pa.large_string())  # ingest rejects them before


@pytest.mark.parametrize(
    "text",
    [
        "word " * 2_000_000,  # one line of 10 MB
        "x" * 10_000_000,  # one word of 10 MB
        "A line of text.\n" * 100_000,
        "\n" * 1_000_000,
        "日本語。" * 300_000,
        "שלום עולם. " * 100_000,
        "[1]" * 200_000 + ".",
        "a@" * 300_000,
        "1.2.3.4 " * 100_000,
        "(" * 500_000,
    ],
    ids=["line", "word", "lines", "newlines", "cjk", "rtl", "citations", "at", "addresses", "brackets"],
)
def test_huge_texts(text: str) -> None:
    rows, edited = measured([text, "A short text behind it."], str(find_model(None)))
    assert rows[0]["n_chars"] == len(text)
    assert rows[1]["n_words"] == 6
    assert edited[1] == "A short text behind it."
