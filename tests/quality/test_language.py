"""Which texts have a language, and which languages a code names."""

import base64
import random
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from curate.base.errors import RequestError
from curate.quality.language import LanguageModel, check_languages, find_model, is_told, is_wanted, is_written_in

ENGLISH = "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience."
GERMAN = (
    "Alle Menschen sind frei und gleich an W\u00fcrde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt."
)
RUSSIAN = "Все люди рождаются свободными и равными в своём достоинстве и правах."
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
CHEROKEE = "ᏂᎦᏓ ᎠᏂᏴᏫ ᏂᎨᎬᎾᏛᏎᎢ ᎤᎾᏕᏅ ᎠᎴ ᎤᏂᏠᏱ ᎨᏒᎢ"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(find_model(None))


def languages(model: LanguageModel, texts: list[str]) -> list[str]:
    return model.identify(pa.array(texts, pa.large_string())).languages.to_pylist()


def test_clear_texts_have_their_language(model: LanguageModel) -> None:
    assert languages(model, [ENGLISH, GERMAN, RUSSIAN, CHINESE]) == ["en", "de", "ru", "zh"]


def test_what_cannot_be_told_is_undetermined(model: LanguageModel) -> None:
    draw = random.Random(1)
    numbers = "\n".join("\t".join(f"{draw.random():.3f}" for _ in range(5)) for _ in range(20))
    code = base64.b64encode(draw.randbytes(600)).decode()
    letters = " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(60))
    texts = ["OK", "Taxi", "", " \n ", "!!! ... ???", numbers, code, letters, CHEROKEE, "2024-12-01 12:30"]
    assert languages(model, texts) == ["und"] * len(texts)


def test_a_text_of_two_languages_is_undetermined(model: LanguageModel) -> None:
    texts = [f"{ENGLISH} {GERMAN}", f"{GERMAN}\n{ENGLISH}", f"{RUSSIAN} {ENGLISH}", CHINESE + ENGLISH.replace(" ", "")]
    assert languages(model, texts) == ["und"] * len(texts)


def test_the_guess_and_its_score_stay(model: LanguageModel) -> None:
    found = model.identify(pa.array([ENGLISH[:18], ""], pa.large_string()))
    assert found.languages.to_pylist() == ["und", "und"]
    assert found.guesses.to_pylist() == ["en", "und"]
    assert found.scores[0] > 0.3
    assert found.scores[1] == 0


def test_the_ratio_that_is_asked_for_falls_with_the_length() -> None:
    scores, following = np.array([9000] * 4 + [0, 1]), np.array([200, 200, 1700, 1800, 0, 0])
    n_bytes = np.array([20, 30, 10_000, 10_000, 50, 50])
    assert is_told(scores, following, n_bytes).tolist() == [False, True, True, False, False, True]


@pytest.mark.parametrize(
    ("label", "script", "can_be"),
    [
        ("en", "Latn", True),
        ("en", "Cyrl", False),
        ("zh", "Hani", True),
        ("zh", "Cher", False),
        ("sr", "Latn", True),
        ("sr", "Cyrl", True),
        ("en", "Zyyy", False),
        ("zho_Hant", "Hani", True),
        ("eng_Latn", "Grek", False),
        ("und_Latn", "Latn", False),
        ("zxx_Latn", "Latn", False),
        ("spam", "Grek", True),
    ],
)
def test_a_language_is_written_in_its_scripts(label: str, script: str, can_be: bool) -> None:
    assert is_written_in(label, script) == can_be


@pytest.mark.parametrize(
    ("code", "label", "script", "expected"),
    [
        ("en", "en", "Latn", True),
        ("eng", "en", "Latn", True),
        ("en", "eng_Latn", "Latn", True),
        ("ger", "deu_Latn", "Latn", True),
        ("de", "nl", "Latn", False),
        ("zh", "cmn_Hani", "Hani", True),
        ("zh-Hant", "zho_Hant", "Hani", True),
        ("zh-Hant", "zho_Hans", "Hani", False),
        ("zh-Hani", "zho_Hans", "Hani", True),
        ("sr-Latn", "srp_Cyrl", "Cyrl", False),
        ("sr-Latn", "sr", "Latn", True),
        ("sr-Latn", "sr", "Cyrl", False),
        ("als", "als", "Latn", False),  # Tosk Albanian in ISO 639, Alemannic in Wikipedia's labels
        ("sq", "sq", "Latn", True),
        ("gsw", "als", "Latn", True),
        ("en", "und", "Zyyy", False),
    ],
)
def test_what_a_code_names(code: str, label: str, script: str, expected: bool) -> None:
    assert is_wanted(code, label, script) == expected


def test_languages_that_the_model_does_not_tell_are_refused(model: LanguageModel) -> None:
    check_languages(["en", "deu", "sr-Latn", "zh"], model)
    for code, said in (("english", "no language"), ("zh-Hant", "tells no script Hant"), ("quc", "no such language")):
        with pytest.raises(RequestError, match=f"quality.languages: .*{said}"):
            check_languages([code], model)


def test_a_model_whose_labels_have_scripts(tmp_path: Path) -> None:
    texts = {"eng_Latn": ENGLISH, "deu_Latn": GERMAN, "rus_Cyrl": RUSSIAN, "zho_Hant": CHINESE}
    lines = [f"__label__{label} {text}" for label, text in texts.items() for _ in range(50)]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    trained = fasttext.train_supervised(
        str(tmp_path / "lines.txt"), dim=16, minn=2, maxn=4, bucket=5_000, epoch=50, lr=1.0, thread=12, verbose=0
    )
    trained.save_model(str(tmp_path / "lid.bin"))
    model = LanguageModel(tmp_path / "lid.bin")
    found = model.identify(pa.array([*texts.values(), f"{ENGLISH} {RUSSIAN}", "12 34"], pa.large_string()))
    assert found.languages.to_pylist() == [*texts, "und", "und"]
    check_languages(["en", "deu", "zh-Hant", "zh"], model)
    with pytest.raises(RequestError, match="tells no script Hans"):
        check_languages(["zh-Hans"], model)
