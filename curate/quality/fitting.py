"""Limits of a language from clean text, by the methods with which FineWeb-2's were set (arXiv:2506.20920).

- ``tail``: the limit removes a tenth of the reference (the paper's 10Tail).
- ``quantile``: it removes the share of the reference that the limit for English removes of English text.
- ``deviation``: it is as many standard deviations from the mean as the limit for English is on English text (MeanStd).
- ``published``: for each rule set the method that ranked best in the paper: ``deviation`` for Gopher's repetition rules,
  ``tail`` for FineWeb's rules, ``quantile`` for Gopher's quality rules.

Word lengths, letters and stop words are those of the work that FineWeb-2 grew from: the mean length of a word ± one
standard deviation; without English text, the mean share of words with a letter − three; the words that make up more than
0.8 % of all, or 0.3 % where that leaves fewer than eight.

Legend: N documents of the reference.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from curate.quality.by_language import PLAIN
from curate.quality.rule_sets import RULE_SETS, Rule
from curate.quality.signals import measure_with_lines
from curate.quality.word_list import list_words

METHODS = ("published", "tail", "quantile", "deviation")
NEEDS_ENGLISH = ("quantile", "deviation")

_BY_SET = {"gopher_repetition": "deviation", "fineweb": "tail", "gopher_quality": "quantile"}
_TAIL = 0.1
_LETTER_DEVIATIONS = 3
_STOP_SHARES = (0.008, 0.003)
_LEAST_STOP_WORDS = 8
_SCORES = (0.3, 0.9)

_FITTED = {
    "gopher_repetition": (
        "dup_line_frac", *(f"top_{n}_gram" for n in range(2, 5)), *(f"duplicated_{n}_n_grams" for n in range(5, 11)),
    ),
    "fineweb": ("line_punct_thr", "new_line_ratio"),
    "gopher_quality": ("max_non_alpha_words_ratio",),
}  # fmt: skip
"""Parameters that are fitted to the values of documents, by rule set."""


def _rule_of(rule_set: str, parameter: str) -> Rule:
    return next(rule for rule in RULE_SETS[rule_set].rules if rule.parameter == parameter)


_COLUMNS = ["gopher_quality_mean_word_length"] + [
    _rule_of(rule_set, parameter).column for rule_set, parameters in _FITTED.items() for parameter in parameters
]


@dataclass
class Reference:
    """What is known of clean texts, gathered a batch at a time by :func:`add_batch`.

    Attributes:
        words: ``plain``, or ``icu <version>``.
        statistics: columns that limits are fitted to, a table a batch.
        word_counts: how often each word is there; signs are no words.
        scores: of the language, by a language model, of the texts that it takes for the language.
    """

    words: str = PLAIN
    statistics: list[pa.Table] = field(default_factory=list)
    word_counts: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)

    @property
    def documents(self) -> int:
        """N."""
        return sum(one.num_rows for one in self.statistics)

    def values(self, column: str) -> NDArray[np.float64]:
        """float64[N]: what a rule looks at; documents without a value are left out."""
        values = np.concatenate([one[column].to_numpy().astype(np.float64) for one in self.statistics])
        return values[~np.isnan(values)]


@dataclass(frozen=True)
class Limit:
    """A fitted limit.

    Attributes:
        rule_set, parameter: whose limit it is.
        value: the limit.
        method: how it was found.
        removes: share of the reference that it removes.
    """

    rule_set: str
    parameter: str
    value: float
    method: str
    removes: float


@dataclass(frozen=True)
class Fitted:
    """Rules of a language, and what they would do to the reference.

    Attributes:
        limits: in the order of the rules.
        stop_words: the most frequent first.
        stop_share: the share of all words above which they are, or 0 where the eight most frequent were taken.
        language_score: the lowest score.
        scored: documents by which it was found.
    """

    limits: tuple[Limit, ...]
    stop_words: tuple[str, ...]
    stop_share: float
    language_score: float
    scored: int


def add_batch(reference: Reference, texts: pa.LargeStringArray) -> None:
    """Measure some texts of the reference."""
    statistics, _ = measure_with_lines(texts, tuple(_FITTED), words=reference.words)
    reference.statistics.append(statistics.select(["n_bytes", *_COLUMNS]))
    _, words = list_words(texts, reference.words)
    for word, count in zip(*(one.to_pylist() for one in pc.value_counts(words).flatten()), strict=True):
        reference.word_counts[word] += count


def removed_share(rule: Rule, values: NDArray[np.float64], limit: float) -> float:
    """Share of the values that a rule removes under a limit; 0 without values."""
    if len(values) == 0 or (rule.zero_is_off and limit == 0):
        return 0.0
    return float(np.mean(values < limit if rule.comparison == "<" else values > limit))


def _fit(rule: Rule, method: str, values: NDArray[np.float64], english: NDArray[np.float64]) -> float:
    """The limit of a rule by a method."""
    below = rule.comparison == "<"
    if method == "tail":
        return float(np.quantile(values, _TAIL if below else 1 - _TAIL))
    published = rule.default or 0.0
    if method == "quantile":
        return float(np.quantile(values, np.mean(english < published)))
    deviation = float(english.std())
    distance = (published - float(english.mean())) / deviation if deviation else 0.0
    return float(values.mean() + distance * values.std())


def _limits(reference: Reference, english: Reference | None, method: str) -> Iterable[Limit]:
    for rule_set, parameters in _FITTED.items():
        for parameter in parameters:
            rule = _rule_of(rule_set, parameter)
            values = reference.values(rule.column)
            chosen = _BY_SET[rule_set] if method == "published" else method
            if english is None and chosen in NEEDS_ENGLISH:
                chosen = "tail"
            if english is None and rule_set == "gopher_quality":
                chosen = f"mean − {_LETTER_DEVIATIONS} σ"
                limit = round(max(0.0, float(values.mean() - _LETTER_DEVIATIONS * values.std())), 1)
            else:
                limit = round(_fit(rule, chosen, values, english.values(rule.column) if english else values), 3)
            yield Limit(rule_set, parameter, limit, chosen, removed_share(rule, values, limit))
    yield from _word_lengths(reference)


def _word_lengths(reference: Reference) -> Iterable[Limit]:
    """The mean length of a word ± one standard deviation, in whole characters."""
    lengths = np.array([len(word) for word in reference.word_counts], np.float64)
    counts = np.array(list(reference.word_counts.values()), np.float64)
    is_word = np.array([bool(_spoken(word)) for word in reference.word_counts], np.bool_)
    lengths, counts = lengths[is_word], counts[is_word]
    mean = float(np.average(lengths, weights=counts))
    deviation = float(np.sqrt(np.average((lengths - mean) ** 2, weights=counts)))
    for parameter, side, limit in (
        ("min_avg_word_length", "−", mean - deviation),
        ("max_avg_word_length", "+", mean + deviation),
    ):
        rule, whole = _rule_of("gopher_quality", parameter), float(max(0, round(limit)))
        yield Limit(
            "gopher_quality",
            parameter,
            whole,
            f"mean {side} σ",
            removed_share(rule, reference.values(rule.column), whole),
        )


def _spoken(word: str) -> bool:
    return any(character.isalnum() for character in word)


def _is_stop_word(word: str) -> bool:
    """Letters and the marks on them only: no sign and no number."""
    return all(unicodedata.category(character)[0] in "LM" for character in word) and any(map(str.isalpha, word))


def stop_words_of(word_counts: Counter[str]) -> tuple[tuple[str, ...], float]:
    """(the stop words, the most frequent first; the share of all words above which they are, 0: the most frequent eight)."""
    total = sum(count for word, count in word_counts.items() if _spoken(word))
    ranked = sorted(((-count, word) for word, count in word_counts.items() if _is_stop_word(word)))
    for share in _STOP_SHARES:
        found = tuple(word for count, word in ranked if -count > share * total)
        if len(found) >= _LEAST_STOP_WORDS:
            return found, share
    return tuple(word for _, word in ranked[:_LEAST_STOP_WORDS]), 0.0


def _language_score(scores: Sequence[float]) -> float:
    """The median − one standard deviation, between .3 and .9."""
    if not scores:
        return _SCORES[0]
    return round(float(np.clip(np.median(scores) - np.std(scores), *_SCORES)), 3)


def fit(reference: Reference, english: Reference | None = None, method: str = "published") -> Fitted:
    """Limits and stop words of the language of a reference.

    Args:
        reference: clean texts of the language, at least one with a word.
        english: clean English texts; without them, ``tail`` is used where another method needs them.
        method: of :data:`METHODS`.
    """
    stop_words, share = stop_words_of(reference.word_counts)
    limits = tuple(_limits(reference, english, method))
    return Fitted(limits, stop_words, share, _language_score(reference.scores), len(reference.scores))


def as_yaml(fitted: Fitted) -> str:
    """The file of FineWeb-2's form."""
    limits = {limit.parameter: limit.value for limit in fitted.limits}
    content = {
        "dup_line_frac": limits["dup_line_frac"],
        "dup_n_grams": [[n, limits[f"duplicated_{n}_n_grams"]] for n in range(5, 11)],
        "language_score": fitted.language_score,
        "line_punct_thr": limits["line_punct_thr"],
        "max_avg_word_length": int(limits["max_avg_word_length"]),
        "max_non_alpha_words_ratio": limits["max_non_alpha_words_ratio"],
        "min_avg_word_length": int(limits["min_avg_word_length"]),
        "new_line_ratio": limits["new_line_ratio"],
        "stopwords": list(fitted.stop_words),
        "top_n_grams": [[n, limits[f"top_{n}_gram"]] for n in range(2, 5)],
    }
    text: str = yaml.safe_dump(content, allow_unicode=True)
    return text
