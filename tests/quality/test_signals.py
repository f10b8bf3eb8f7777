import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base import schemas
from curate.base.text import cut_spans
from curate.quality.c4 import line_parameters
from curate.quality.signals import empty_signals, measure, measure_signals

TEXTS = [
    "First line stays here.\nMenu\nAnother line stays.\n",
    "Menu",
    "A line.\nmenu\nAnd one more line.",
    "nothing to cut here.",
]


def batch(sources: list[str]) -> pa.Table:
    ids = pa.array([3, 4, 7, 9], pa.uint64())
    return pa.table({"doc_id": ids, "source": sources, "text": pa.array(TEXTS, pa.large_string())})


def test_columns_are_those_of_the_empty_table() -> None:
    signals, edits = measure_signals(batch(["a"] * 4), None, {}, {})
    assert signals.schema.equals(empty_signals([]).schema)
    assert empty_signals(["x", "y"]).column_names[-2:] == ["classifier_x", "classifier_y"]
    assert edits.schema.equals(schemas.EDITS)
    assert edits.num_rows == 0
    assert signals["language"].to_pylist() == ["und"] * 4


def test_line_rules_are_per_source() -> None:
    table = batch(["web", "books", "web", "papers"])
    rules = {"web": line_parameters("c4", {}), "books": None, "papers": line_parameters("fineweb", {})}
    signals, edits = measure_signals(table, None, {}, rules)
    assert edits["doc_id"].to_pylist() == sorted(edits["doc_id"].to_pylist())
    assert set(edits["doc_id"].to_pylist()) == {3, 7}
    whole = measure(table["text"])
    for name in set(whole.column_names) - {"c4_sentences", "rare_recurrence"}:  # the latter is of long texts
        assert signals[name].to_pylist() == whole[name].to_pylist()
    rows = [{3: 0, 7: 2}[i] for i in edits["doc_id"].to_pylist()]
    cut = cut_spans(table["text"], pa.array(rows).to_numpy(), edits["start"].to_numpy(), edits["end"].to_numpy())
    assert cut.to_pylist() == ["First line stays here.\nAnother line stays.", "Menu", "And one more line.", TEXTS[3]]
    assert signals["c4_sentences"].to_pylist() == [2, 0, 1, 1]
    again = measure(cut, ("fineweb",), "edited_")
    for name in again.column_names:
        assert signals[name].to_pylist() == again[name].to_pylist(), name


def test_a_batch_is_the_sum_of_its_rows() -> None:
    table = batch(["web", "books", "web", "web"])
    rules = {"web": line_parameters("c4", {})}
    signals, edits = measure_signals(table, None, {}, rules)
    parts = [measure_signals(table.slice(i, 1), None, {}, rules) for i in range(4)]
    # As text, since a value that is not a number equals nothing.
    assert str(pa.concat_tables([part[0] for part in parts]).to_pylist()) == str(signals.to_pylist())
    assert pa.concat_tables([part[1] for part in parts]).equals(edits)


pieces = st.sampled_from(
    [
        "A b c.",
        "word",
        " ",
        "\n",
        "\n",
        "\r\n",
        "[1]",
        "[edit]",
        "end[2]s. And",
        "x y z! So",
        "don't",
        "\x85",
        "\u2028",
        "日本。",
        ". ",
    ]
)


@settings(max_examples=150)
@given(st.lists(st.lists(pieces, max_size=25).map("".join), max_size=4), st.sampled_from(["c4", "fineweb"]))
def test_what_lines_leave_is_as_if_measured_again(texts: list[str], preset: str) -> None:
    ids = pa.array(range(len(texts)), pa.uint64())
    table = pa.table({"doc_id": ids, "source": ["a"] * len(texts), "text": pa.array(texts, pa.large_string())})
    signals, edits = measure_signals(table, None, {}, {"a": line_parameters(preset, {})})
    rows, starts, ends = (edits[name].to_numpy().astype("int64") for name in ("doc_id", "start", "end"))
    again = measure(cut_spans(table["text"], rows, starts, ends), ("fineweb", "c4"), "edited_")
    assert signals["c4_sentences"].to_pylist() == again["edited_c4_sentences"].to_pylist()
    for name in again.column_names:
        if "fineweb" in name:
            assert str(signals[name].to_pylist()) == str(again[name].to_pylist()), name
