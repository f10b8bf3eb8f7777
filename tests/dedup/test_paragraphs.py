"""Paragraphs: together the whole text, equal hashes for equal words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.contamination import paragraphs


def parts(texts, unit="paragraph"):
    found = paragraphs(pa.array(texts, pa.large_string()), unit)
    columns = found.row.tolist(), found.start.tolist(), found.end.tolist()
    return [(row, texts[row].encode()[start:end].decode()) for row, start, end in zip(*columns, strict=True)], found


def test_blank_lines_end_paragraphs_and_line_breaks_end_lines():
    text = "\n first\nof two\n\n  \n second\n\n\nthird"
    assert parts([text])[0] == [(0, "\n first\nof two\n\n  \n "), (0, "second\n\n\n"), (0, "third")]
    assert [part for _, part in parts(["a\nb\n\nc"], "line")[0]] == ["a\n", "b\n\n", "c"]
    assert parts(["", " \n\n ", "x"])[0] == [(2, "x")]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab é\n\t"), max_size=20), max_size=5), st.sampled_from(["paragraph", "line"]))
def test_parts_are_the_whole_text(texts, unit):
    found, _ = parts(texts, unit)
    for row, text in enumerate(texts):
        mine = [part for of, part in found if of == row]
        assert "".join(mine) == (text if text.strip() else "")
        assert all(part.strip() for part in mine)


def test_hashes_are_of_words():
    _, found = parts(["One two.\n\nthree", "x\n\none TWO\n\n", "three four"])
    hashes = found.content_hash.view(np.uint64)[:, 0]
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 4
    assert found.n_words.tolist() == [2, 1, 1, 2, 2]


def test_more_paragraphs_than_fit_at_first():
    _, found = parts(["\n\n".join(map(str, range(5000)))])
    assert len(found.row) == 5000
