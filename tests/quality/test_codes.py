"""Codes of languages and scripts of texts."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.quality.codes import INDIVIDUAL, file_key, key_of, matches, parse
from curate.quality.scripts import NAMES, WITHOUT_SPACES, scripts_of


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("de", "deu_Zyyy"), ("deu", "deu_Zyyy"), ("GER", "deu_Zyyy"), ("deu_Latn", "deu_Latn"), ("iw", "heb_Zyyy"),
        ("zh-Hant", "cmn_Hant"), ("sr_cyrl", "srp_Cyrl"), ("no", "nob_Zyyy"), ("fa", "fas_Zyyy"), ("swc", "swc_Zyyy"),
        ("eml_Latn", "eml_Latn"), ("und", "und_Zyyy"), ("zxx_Latn", "zxx_Latn"),
    ],
)  # fmt: skip
def test_a_code_names_a_language(code: str, key: str) -> None:
    assert parse(code).key == key


@pytest.mark.parametrize("code", ["xx", "de-BR", "german", "deu_Foo", "", "d3"])
def test_no_language_is_guessed(code: str) -> None:
    with pytest.raises(ValueError, match=r"no (language|script) has the code"):
        parse(code)


FILES = "als_Latn arb_Arab azj_Latn cmn_Hani ekk_Latn fas_Arab fil_Latn hin_Deva jpn_Jpan khk_Cyrl kmr_Latn kor_Hang "
FILES += "lvs_Latn nob_Latn npi_Deva ory_Orya pbt_Arab plt_Latn quy_Latn swh_Latn tha_Thai uzn_Latn ydd_Hebr zsm_Latn"


def test_short_codes_find_the_files_of_fineweb2() -> None:
    codes = "sq ar az zh et fa tl hi ja mn ku ko lv no ne or ps mg qu sw th uz yi ms".split()
    assert [file_key(code) for code in codes] == FILES.split()
    assert [file_key(key) for key in FILES.split()] == FILES.split()
    assert not set(INDIVIDUAL) & set(INDIVIDUAL.values())


def test_a_documents_key_is_its_label_and_else_its_script() -> None:
    assert key_of("deu_Latn", "Cyrl") == "deu_Latn"
    assert key_of("sr", "Cyrl") == "srp_Cyrl"
    assert key_of("ja", "Hani") == "jpn_Jpan"
    assert key_of("zh", "Jpan") == "cmn_Hani"
    # lid.176 has Wikipedia's codes.
    assert key_of("als", "Latn") == "gsw_Latn"
    assert key_of("als_Latn", "Latn") == "als_Latn"
    assert key_of("no-such-label", "Latn") == "no-such-label_Latn"


def test_a_wanted_language_is_any_script_unless_one_is_named() -> None:
    assert matches("sr", "srp_Cyrl")
    assert matches("sr-Latn", "srp_Latn")
    assert not matches("sr-Latn", "srp_Cyrl")
    assert not matches("de", "nld_Latn")


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain {words} __ 12", "Latn"), ("12 34 – {}", "Zyyy"), ("", "Zyyy"), ("Привет мир, hi", "Cyrl"),
        ("สวัสดีครับ", "Thai"), ("日本の歴史", "Jpan"), ("カタカナ", "Jpan"), ("中华人民共和国 (PRC)", "Hani"),
        ("中华人民共和国中华人民共和国中华人の", "Hani"), ("大韓民國 한국어 문장입니다", "Hang"), ("हिन्दी में", "Deva"),
        ("العربية", "Arab"), ("𠀀𠀁", "Hani"), ("ab日本", "Latn"),
    ],
)  # fmt: skip
def test_the_script_of_most_letters(text: str, script: str) -> None:
    """At any place in a batch, for the letters are looked at eight bytes at a time."""
    others = ["x" * n for n in range(9)]
    assert scripts_of(pa.array([*others, text, "y"])).to_pylist()[9] == script
    assert scripts_of(pa.array([text])).to_pylist() == [script]


def test_scripts_have_one_number_each() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(WITHOUT_SPACES) <= set(NAMES)
