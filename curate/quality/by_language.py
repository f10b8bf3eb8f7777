"""Limits and stop words by language: a folder of FineWeb-2's configuration files, ``<ISO 639-3>_<ISO 15924>.yml``.

A file has ten keys (FineWeb-2, arXiv:2506.20920, and its repository's ``configs``). They are limits of the rule sets
``gopher_repetition``, ``fineweb`` and ``gopher_quality``, the stop words of the last, and the lowest score of the language.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.quality.codes import file_key, key_of
from curate.quality.rule_sets import Thresholds

PLAIN = "plain"
"""Words as English splits them, without ICU."""

RULE_SETS_BY_LANGUAGE = ("gopher_repetition", "fineweb", "gopher_quality")
"""The rule sets that a file has limits for, in the order in which FineWeb-2 applies them."""

_LIMITS = {
    "dup_line_frac": ("gopher_repetition", "dup_line_frac"),
    "line_punct_thr": ("fineweb", "line_punct_thr"),
    "new_line_ratio": ("fineweb", "new_line_ratio"),
    "max_non_alpha_words_ratio": ("gopher_quality", "max_non_alpha_words_ratio"),
    "min_avg_word_length": ("gopher_quality", "min_avg_word_length"),
    "max_avg_word_length": ("gopher_quality", "max_avg_word_length"),
}
"""Keys that hold a number: rule set and parameter."""

_GRAMS = {"dup_n_grams": ("duplicated_{}_n_grams", range(5, 11)), "top_n_grams": ("top_{}_gram", range(2, 5))}
"""Keys that hold pairs of n and a limit: parameter of ``gopher_repetition``, and the n there are. One that is left out is off."""

LIMITS_BY_LANGUAGE = {
    *_LIMITS.values(),
    *(("gopher_repetition", name.format(n)) for name, known in _GRAMS.values() for n in known),
}
"""Rule sets and parameters that files give limits for."""

KEYS = (*_LIMITS, *_GRAMS, "language_score", "stopwords")


@dataclass(frozen=True)
class LanguageRules:
    """What one file says.

    Attributes:
        key: ``<ISO 639-3>_<ISO 15924>``.
        language_score: documents with a lower score of the language are removed.
        limits: by rule set and parameter; None switches a rule off.
        stop_words: of which a document needs two different ones, as written.
    """

    key: str
    language_score: float
    limits: Mapping[str, Mapping[str, float | None]]
    stop_words: tuple[str, ...]


def read_rules(path: Path) -> LanguageRules:
    """The rules in a file.

    Raises:
        RequestError: it cannot be read, has not exactly the ten keys, or a value is not what its key takes; with the line.
    """
    try:
        text = path.read_text("utf-8")
        # The C loader is ten times as fast, and the folder has 1,900 files.
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"cannot read the rules {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _wrong(path, mark.line if mark else 0, f"this is no YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(root, yaml.MappingNode):
        raise _wrong(path, 0, f"a file of rules is a mapping with the keys {', '.join(sorted(KEYS))}")
    values: dict[str, Any] = {}
    for key_node, node in root.value:
        key, line = str(key_node.value), key_node.start_mark.line
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1, 0.4)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(sorted(KEYS))}"
            raise _wrong(path, line, f"unknown key `{key}`; {hint}")
        if key in values:
            raise _wrong(path, line, f"`{key}` is there twice")
        values[key] = _value(path, key, node)
    missing = sorted(set(KEYS) - set(values))
    if missing:
        raise _wrong(path, 0, f"the key `{missing[0]}` is missing")
    limits: dict[str, dict[str, float | None]] = {name: {} for name in RULE_SETS_BY_LANGUAGE}
    for key, (rule_set, parameter) in _LIMITS.items():
        limits[rule_set][parameter] = values[key]
    for key in _GRAMS:
        limits["gopher_repetition"] |= values[key]
    return LanguageRules(path.stem, values["language_score"], limits, values["stopwords"])


def _wrong(path: Path, line: int, what: str) -> RequestError:
    return RequestError(f"{path}, line {line + 1}: {what}")


def _value(path: Path, key: str, node: yaml.Node) -> Any:
    if key == "stopwords":
        words = node.value if isinstance(node, yaml.SequenceNode) else None
        if words is None or not all(isinstance(word, yaml.ScalarNode) for word in words):
            raise _wrong(path, node.start_mark.line, "stopwords is a list of words")
        for word in words:
            if word.tag != "tag:yaml.org,2002:str":
                raise _wrong(
                    path, word.start_mark.line, f"the stop word {word.value!r} needs quotes to be a word in YAML"
                )
        return tuple(dict.fromkeys(word.value for word in words))
    if key in _GRAMS:
        return _grams(path, key, node)
    return _number(path, key, node)


def _number(path: Path, key: str, node: yaml.Node) -> float:
    try:
        number = float(node.value) if isinstance(node, yaml.ScalarNode) and not node.style else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(path, node.start_mark.line, f"{key} takes a number")
    return number


def _grams(path: Path, key: str, node: yaml.Node) -> dict[str, float | None]:
    name, known = _GRAMS[key]
    limits: dict[str, float | None] = {name.format(n): None for n in known}
    pairs = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for pair in pairs:
        if not isinstance(pair, yaml.SequenceNode) or len(pair.value) != 2:
            raise _wrong(path, pair.start_mark.line, f"{key} is a list of pairs of n and a limit: [[{known[0]}, 0.15]]")
        n = _number(path, key, pair.value[0])
        if n not in known:
            raise _wrong(path, pair.start_mark.line, f"{key} takes n from {known[0]} to {known[-1]}, not {n:g}")
        limits[name.format(int(n))] = _number(path, key, pair.value[1])
    return limits


def file_of(folder: str, key: str) -> Path:
    """Where the rules of a language are."""
    return Path(folder) / f"{key}.yml"


def rules_of_language(folder: str, key: str) -> LanguageRules | None:
    """The rules of a language, None where the folder has no file for it; read again only when the file has changed.

    Raises:
        RequestError: the folder is not there.
    """
    try:
        status = file_of(folder, key).stat()
    except OSError as error:
        if not Path(folder).is_dir():
            raise RequestError(
                f"the folder of rules by language {folder} is not on this machine; put it where every worker finds it"
            ) from error
        return None
    return _rules_in(folder, key, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8192)
def _rules_in(folder: str, key: str, changed: int, size: int) -> LanguageRules:
    return read_rules(file_of(folder, key))


@dataclass(frozen=True)
class FolderContent:
    """What a folder holds: its languages, and a checksum of all that its files say, and of the stop words alone."""

    keys: tuple[str, ...]
    checksum: str
    stop_words_checksum: str


def read_folder(folder: str) -> FolderContent:
    """The content of a folder, every file read and checked; read again only when a file has changed.

    Raises:
        RequestError: it has no file of rules, one that is named after no language, or one that is wrong.
    """
    try:
        files = sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in Path(folder).glob("*.yml"))
    except OSError as error:
        raise RequestError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    if not files:
        raise RequestError(
            f"quality.by_language: {folder} is no folder with files like deu_Latn.yml; `curate fit-rules` makes one, and the "
            "folder configs of github.com/huggingface/fineweb-2 has 1,929"
        )
    return _content(folder, tuple(files))


@lru_cache(maxsize=4)
def _content(folder: str, files: tuple[tuple[str, int, int], ...]) -> FolderContent:
    rules = []
    for name, _, _ in files:
        _check_name(folder, name)
        rules.append(read_rules(Path(folder) / name))
    everything: list[Any] = [[one.key, one.language_score, one.limits, one.stop_words] for one in rules]
    words: list[Any] = [[one.key, one.stop_words] for one in rules]
    return FolderContent(tuple(one.key for one in rules), _checksum(everything), _checksum(words))


def _checksum(value: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def _check_name(folder: str, name: str) -> None:
    stem = name.removesuffix(".yml")
    try:
        key = file_key(stem)
    except ValueError as error:
        raise RequestError(f"{Path(folder) / name} is named after no language: {error}") from None
    if key != stem:
        raise RequestError(f"{Path(folder) / name} would never be found: rename it to {key}.yml")


@dataclass(frozen=True)
class WordRules:
    """How the words of a source are told, and which of them are stop words.

    Attributes:
        words: ``plain``, or ``icu <version>``.
        folder: with lists of stop words by language; None: Gopher's for all.
    """

    words: str = PLAIN
    folder: str | None = None


class LimitGroup(NamedTuple):
    """Documents under the same limits.

    Attributes:
        rows: int64, ascending; None: all documents.
        thresholds: limits by rule set and parameter that differ from those of the preset.
    """

    rows: NDArray[np.int64] | None
    thresholds: Thresholds


def language_keys(languages: pa.Array, scripts: pa.Array) -> list[str]:
    """The key of each of N documents, from the columns ``language_guess`` and ``script`` of its signals."""
    return [
        key_of(language, script) for language, script in zip(languages.to_pylist(), scripts.to_pylist(), strict=True)
    ]


def _rules_of(signals: pa.Table, folder: str) -> list[LanguageRules | None]:
    keys = language_keys(signals["language_guess"], signals["script"])
    rules = {key: rules_of_language(folder, key) for key in set(keys)}
    return [rules[key] for key in keys]


def limits_by_language(signals: pa.Table, folder: str, thresholds: Thresholds) -> list[LimitGroup]:
    """The limits of every document: its language's, where ``thresholds`` does not name another; together they are all rows."""
    rules = _rules_of(signals, folder)
    rows: dict[str | None, list[int]] = {}
    for row, one in enumerate(rules):
        rows.setdefault(one.key if one else None, []).append(row)
    groups = []
    for of_language in rows.values():
        one = rules[of_language[0]]
        limits = one.limits if one else {}
        names = dict.fromkeys([*limits, *thresholds])
        merged = {name: {**limits.get(name, {}), **thresholds.get(name, {})} for name in names}
        groups.append(LimitGroup(np.array(of_language, np.int64), merged))
    return groups


def scores_by_language(signals: pa.Table, folder: str) -> NDArray[np.float64]:
    """float64[N]: the lowest score that each document's language asks for, NaN where the folder has no file for it."""
    scores = [one.language_score if one else math.nan for one in _rules_of(signals, folder)]
    return np.array(scores, np.float64)


def stop_words_of(folder: str) -> Callable[[str], tuple[str, ...]]:
    """The stop words by the key of a language; none where there is no file."""

    def words(key: str) -> tuple[str, ...]:
        rules = rules_of_language(folder, key)
        return rules.stop_words if rules else ()

    return words
