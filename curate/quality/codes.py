"""Codes of languages: the *key* ``<ISO 639-3>_<ISO 15924>``, such as ``deu_Latn``, that names a language with its script.

Models and people write ``de``, ``deu``, ``ger``, ``zh-Hant`` or ``deu_Latn``; files of rules are found by the key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from curate.quality.scripts import UNKNOWN_SCRIPT

UNKNOWN = "und"
"""ISO 639's code for undetermined."""

INDIVIDUAL = {
    "aka": "twi", "ara": "arb", "aym": "ayr", "aze": "azj", "bua": "bxr", "est": "ekk", "grn": "gug", "iku": "ike",
    "kau": "knc", "kok": "gom", "kom": "kpv", "kur": "kmr", "lav": "lvs", "mlg": "plt", "mon": "khk", "msa": "zsm",
    "nep": "npi", "nor": "nob", "ori": "ory", "orm": "gaz", "pus": "pbt", "que": "quy", "sqi": "als", "swa": "swh",
    "tgl": "fil", "uzb": "uzn", "yid": "ydd", "zho": "cmn", "zza": "diq",
}  # fmt: skip
"""Macrolanguages, and the individual language that is meant by them: the one that GlotLID and the file names of FineWeb-2
have. Persian (``fas``) stays a macrolanguage there."""

WIKIPEDIA = {"als": "gsw", "bh": "bho", "sh": "hbs"}
"""Labels without a script are those of Wikipedia (lid.176), of which these mean another language than in ISO 639."""

_SAME_SCRIPT = {"Hans": "Hani", "Hant": "Hani", "Hira": "Jpan", "Kana": "Jpan", "Hrkt": "Jpan", "Kore": "Hang"}
"""Scripts of which the letters of a text show one only, and its name in keys of files."""


class Code(NamedTuple):
    """A language, by its ISO 639-3 code, and its script, by its ISO 15924 code or ``Zyyy`` where that is not said."""

    language: str
    script: str

    @property
    def key(self) -> str:
        """``<language>_<script>``."""
        return f"{self.language}_{self.script}"


def parse(code: str) -> Code:
    """The language that ``de``, ``deu``, ``ger``, ``zh-Hant`` or ``deu_Latn`` names.

    A macrolanguage is its main language (:data:`INDIVIDUAL`). With a script, three letters are taken as they are: files
    and labels have codes that were withdrawn (``eml_Latn``).

    Raises:
        ValueError: there is no such language or script.
    """
    language, _, script = code.strip().replace("-", "_").partition("_")
    try:
        alpha3 = _alpha3(language.lower())
    except LookupError:
        if not (script and len(language) == 3):
            raise ValueError(
                f"no language has the code {code!r}; codes are like de, deu, zh-Hant or deu_Latn (ISO 639, ISO 15924)"
            ) from None
        alpha3 = language.lower()
    return Code(alpha3, _script(script, code) if script else UNKNOWN_SCRIPT)


@lru_cache(maxsize=4096)
def _alpha3(language: str) -> str:
    """The ISO 639-3 code of a code of two or three letters; LookupError where it is none."""
    from langcodes import Language

    tag = Language.get(language) if 2 <= len(language) <= 3 and language.isascii() and language.isalpha() else None
    if tag is None or not tag.is_valid():
        raise LookupError(language)
    if language == UNKNOWN:
        return UNKNOWN
    # A code of three letters stays, though the library would replace one that was withdrawn later.
    alpha3 = tag.to_alpha3()
    if len(language) == 3 and tag.to_alpha3(variant="B") != language:
        alpha3 = language
    return INDIVIDUAL.get(alpha3, alpha3)


def _script(script: str, code: str) -> str:
    from langcodes import Language

    name = script.title()
    if len(name) != 4 or not Language.make(script=name).is_valid():
        raise ValueError(
            f"no script has the code {script!r} (in {code!r}); codes are like Latn, Hani, Arab (ISO 15924)"
        )
    return name


@lru_cache(maxsize=4096)
def key_of(label: str, script: str) -> str:
    """The key of a document: by its language model's label, and by the script of its letters where the label has none.

    Args:
        label: ``deu_Latn``, or a label of lid.176, which has Wikipedia's codes (``als`` is Alemannic there); a label that
            no language has is kept as it is.
        script: of :mod:`curate.quality.scripts`.
    """
    try:
        code = parse(label if "_" in label or "-" in label else WIKIPEDIA.get(label, label))
    except ValueError:
        return f"{label}_{script}"
    return _of_files(code if code.script != UNKNOWN_SCRIPT else Code(code.language, script)).key


def _of_files(code: Code) -> Code:
    """The code with the script by which its file is named: one for all kinds of Han signs, one for Japanese, for Korean."""
    script = _SAME_SCRIPT.get(code.script, code.script)
    if code.language == "jpn" and script == "Hani":
        script = "Jpan"
    elif code.language == "kor" and script == "Hani":
        script = "Hang"
    elif code.language != "jpn" and script == "Jpan":
        script = "Hani"
    return Code(code.language, script)


def file_key(code: str) -> str:
    """The key of the file for a code that has a script; for one without, the key with the script most written.

    Raises:
        ValueError: there is no such language or script.
    """
    parsed = parse(code)
    if parsed.script == UNKNOWN_SCRIPT:
        from langcodes import Language

        macro = next((macro for macro, language in INDIVIDUAL.items() if language == parsed.language), parsed.language)
        likely = Language.get(macro).maximize().script
        parsed = Code(parsed.language, likely or UNKNOWN_SCRIPT)
    return _of_files(parsed).key


def matches(wanted: str, key: str) -> bool:
    """Whether a document's key is what a code asks for: ``de`` any script of German, ``sr-Latn`` that one.

    Raises:
        ValueError: there is no such language or script.
    """
    code, (language, _, script) = _of_files(parse(wanted)), key.partition("_")
    return code.language == language and code.script in (UNKNOWN_SCRIPT, script)
