"""Words of scripts without spaces, and the statistics that are taken of them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.base.errors import RequestError
from curate.quality import icu_words
from curate.quality.by_language import PLAIN, WordRules
from curate.quality.icu_words import breaks_of, check_words, icu_version
from curate.quality.signals import measure_signals, measure_with_lines
from curate.quality.stop_words import stop_lists
from curate.quality.word_list import list_words
from curate.quality.words import split_words
from tests.quality import reference

pytest.importorskip("icu", reason="the extra `icu` is not installed")

TEXTS = [
    "这里有Python代码，😀𠀀很长。\nHello world, it's 3.5 km!",
    "ประเทศไทยเป็นประเทศที่สวยงาม และมีอาหารอร่อย 5 บาท",
    "古い家は学校のために建てられた。彼は行った。",
    "",
    " \n ",
    "plain words, don't ask.",
    "한국어 문장에 漢字가 있다.",
    "ພາສາລາວ ភាសាខ្មែរ မြန်မာဘာသာ བོད་ཡིག",
]


def words_of(text: str, words: str) -> list[str]:
    return list_words(pa.array([text], pa.large_string()), words)[1].to_pylist()


def test_a_chunk_with_a_letter_of_such_a_script_is_split_by_icu() -> None:
    found = words_of(TEXTS[0], icu_version())
    assert found[:7] == ["这里", "有", "Python", "代码", "，", "😀", "𠀀"], (
        "UTF-16 offsets would be wrong behind the emoji"
    )
    assert found[found.index("Hello") :] == ["Hello", "world", ",", "it", "'s", "3.5", "km", "!"]
    assert "ประเทศ" in words_of(TEXTS[1], icu_version())
    rows, _ = list_words(pa.array(TEXTS, pa.large_string()), icu_version())
    assert sorted(set(rows.tolist())) == [0, 1, 2, 5, 6, 7]


@pytest.mark.parametrize("text", [*TEXTS, "，。！", "abc 。。 def", "ก" * 40, "中\u3000国\u2028日"])
def test_words_are_the_text_without_its_white_space(text: str) -> None:
    for words in (PLAIN, icu_version()):
        assert "".join(words_of(text, words)) == "".join(text.split())


def test_text_without_such_letters_is_split_as_ever() -> None:
    for text in ("plain words, don't ask. It's 3.5km…", "«Ça va?» Привет, мир!", "한국어 문장", "。！ ， hello"):
        assert words_of(text, icu_version()) == words_of(text, PLAIN) == split_words(text)


def test_the_words_of_a_chunk_depend_on_the_chunk_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = [words_of(text, icu_version()) for text in TEXTS]
    _, together = list_words(pa.array(TEXTS, pa.large_string()), icu_version())
    assert together.to_pylist() == [word for words in apart for word in words]
    monkeypatch.setattr(icu_words, "_ICU_BYTES", 1)
    assert list_words(pa.array(TEXTS, pa.large_string()), icu_version())[1].to_pylist() == together.to_pylist()


def test_statistics_are_taken_of_these_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the reference, given the words."""
    texts = [*TEXTS, "这是一个句子。" * 40 + "\n" + "ภาษาไทย " * 30]
    measured = measure_with_lines(pa.array(texts, pa.large_string()), words=icu_version())[0].to_pylist()
    monkeypatch.setattr(reference, "split_words", lambda text: words_of(text, icu_version()))
    for text, row in zip(texts, measured, strict=True):
        expected = reference.measure(text)
        for name, value in expected.items():
            if name.startswith(("gopher", "fineweb")):
                assert row[name] == pytest.approx(value, nan_ok=True), (text, name)


def test_stop_words_are_those_of_a_documents_list() -> None:
    lists = {"cmn_Hani": ("这里", "有", "没有"), "deu_Latn": ("und", "für", "das")}
    texts = ["这里有Python代码", "Das ist für uns UND für die", "und the and of", "the and of"]
    given = stop_lists(lambda key: lists.get(key, ()), ["cmn_Hani", "deu_Latn", "deu_Latn", "xxx"])
    table = measure_with_lines(pa.array(texts, pa.large_string()), words=icu_version(), lists=given)[0]
    assert table["gopher_quality_stop_words"].to_pylist() == [2, 1, 1, 3]
    assert table["gopher_quality_stop_words_corrected"].to_pylist() == [2, 3, 1, 3]


def test_sources_have_words_of_their_own() -> None:
    table = pa.table(
        {
            "doc_id": pa.array([1, 2, 3], pa.uint64()),
            "source": ["a", "b", "a"],
            "text": pa.array([TEXTS[2]] * 2 + ["word"], pa.large_string()),
        }
    )
    signals, _ = measure_signals(table, None, {}, {}, words={"a": WordRules(icu_version())})
    assert signals["n_words"].to_pylist() == [len(words_of(TEXTS[2], icu_version())), len(words_of(TEXTS[2], PLAIN)), 1]
    assert signals["script"].to_pylist() == ["Jpan", "Jpan", "Latn"]


def test_another_icu_is_refused() -> None:
    check_words(PLAIN)
    check_words(icu_version())
    with pytest.raises(RequestError, match=r"the run was planned with icu 1\.0: words would differ"):
        check_words("icu 1.0")
    with pytest.raises(RequestError, match=r"the run was planned with icu 1\.0"):
        measure_with_lines(pa.array(["a"], pa.large_string()), words="icu 1.0")


def test_one_endless_chunk_is_split_in_time() -> None:
    text = "ประเทศไทย" * 20_000
    assert len(breaks_of(pa.array([text], pa.large_string())).ends) == 20_000
