"""How far verdicts under FineWeb-2's files agree with datatrove's on the same words: ``python -m tests.conformance.languages``.

``python -m tests.conformance.languages --rules FOLDER [--texts FILE.jsonl]``: FOLDER has FineWeb-2's files, FILE.jsonl
records with ``key`` and ``text``, of which the pages are made; without it, a few sentences of each language
(:mod:`tests.conformance.pages`). Every rule is compared alone, and the reason of the whole pipeline.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.quality.by_language import RULE_SETS_BY_LANGUAGE, file_of, stop_words_of
from curate.quality.icu_words import icu_version
from curate.quality.rule_sets import RULE_SETS
from curate.quality.signals import measure_with_lines
from curate.quality.stop_words import stop_lists
from curate.quality.verdicts import verdicts
from curate.quality.word_list import list_words
from curate.recipe import Quality
from tests.conformance.compare import HERE, PYTHON
from tests.conformance.pages import SENTENCES, pages

BY_ICU = ("Hani", "Jpan", "Thai")


def words_of(key: str) -> str:
    """How the words of a language are told: by ICU where its script has no spaces."""
    return icu_version() if key.endswith(BY_ICU) else "plain"


def reference(texts: list[str], words: str, rules: Path, python: Path = PYTHON) -> list[dict[str, Any]]:
    """Whether each of datatrove's rules drops a page, and the first reason."""
    rows, told = list_words(pa.array(texts, pa.large_string()), words)
    by_text = np.split(np.array(told.to_pylist(), object), np.searchsorted(rows, np.arange(1, len(texts))))
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "pages", Path(folder) / "out"
        lines = [json.dumps({"text": text, "words": list(of)}) + "\n" for text, of in zip(texts, by_text, strict=True)]
        given.write_text("".join(lines), encoding="utf-8")
        command = [str(python), str(HERE / "reference_languages.py"), str(given), str(out), str(rules)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"datatrove's filters failed:\n{done.stderr[-3000:]}")
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def ours(texts: list[str], key: str, folder: str, words: str) -> list[dict[str, Any]]:
    """The same of this project's rules."""
    lists = stop_lists(stop_words_of(folder), [key] * len(texts))
    signals = measure_with_lines(pa.array(texts, pa.large_string()), words=words, lists=lists)[0]
    for name, value in (("language", key), ("language_score", 1.0), ("script", key.split("_")[1])):
        signals = signals.append_column(name, pa.array([value] * len(texts)))
    fields = pa.table({"id": [""] * len(texts), "source": [""] * len(texts), "meta": ["{}"] * len(texts)})
    given: dict[str, Any] = {"preset": "fineweb2", "by_language": folder, "words": words.split()[0]}
    first = verdicts(signals, fields, Quality(**given)).removed_by.to_pylist()
    found: list[dict[str, Any]] = [{"first": reason} for reason in first]
    parameters = {name: RULE_SETS[name].parameters for name in RULE_SETS_BY_LANGUAGE}
    for name in RULE_SETS_BY_LANGUAGE:
        for rule in RULE_SETS[name].rules:
            # All other rules are off; the limit of this one is the file's.
            off = {
                one: {parameter: None for parameter in parameters[one] if (one, parameter) != (name, rule.parameter)}
                for one in parameters
            }
            alone = verdicts(signals, fields, Quality(**given, thresholds=off)).removed_by.to_pylist()
            for row, reason in zip(found, alone, strict=True):
                row[rule.reason] = reason == f"{name}.{rule.reason}"
    return found


def compared(theirs: list[dict[str, Any]], mine: list[dict[str, Any]]) -> dict[str, tuple[int, int, int, list[int]]]:
    """(pages, those that the reference drops, those with equal verdicts, the others' numbers) by rule.

    Pages on which the reference divides by zero, which have no word or no character, do not count, nor do those that are
    too long for it.
    """
    found = {}
    for name in theirs[0]:
        rows = [i for i, one in enumerate(theirs) if not str(one[name]).endswith(("error", "left out"))]
        different = [i for i in rows if theirs[i][name] != mine[i][name]]
        found[name] = len(rows), sum(bool(theirs[i][name]) for i in rows), len(rows) - len(different), different
    return found


def is_explained(text: str, words: str, name: str) -> bool:
    """Whether verdicts of a rule about duplicated n-grams may differ: different runs of words are the same without spaces.

    The reference puts the n words together without anything in between, and takes such runs for one.
    """
    match = re.fullmatch(r"(?:gopher_repetition\.)?duplicated_(\d+)_n_grams", name)
    if match is None:
        return False
    told, n = list_words(pa.array([text], pa.large_string()), words)[1].to_pylist(), int(match[1])
    runs = {tuple(told[i : i + n]) for i in range(len(told) - n + 1)}
    return len({"".join(run) for run in runs}) < len(runs)


def texts_of(path: Path | None) -> dict[str, str]:
    """The text of each language from which pages are made."""
    if path is None:
        return {key: "".join(text) for key, text in SENTENCES.items()}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record["key"]: record["text"] for record in records}


def main() -> int:
    """Prints a table a language; 1 where a verdict differs without being explained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=Path, required=True, help="the folder with FineWeb-2's files (its configs)")
    parser.add_argument("--texts", type=Path, help="a file with a text of each language")
    parser.add_argument("--pages", type=int, default=1000, help="pages of each language")
    parser.add_argument("--python", type=Path, default=PYTHON, help="the Python that has datatrove")
    options = parser.parse_args()
    differs = 0
    for seed, (key, text) in enumerate(texts_of(options.texts).items()):
        words, made = words_of(key), pages(text, options.pages, seed)
        theirs = reference(made, words, file_of(str(options.rules), key), options.python)
        mine = ours(made, key, str(options.rules), words)
        found = compared(theirs, mine)
        print(f"\n### {key}, words by {words}\n\n| rule | pages | dropped by datatrove | equal | explained |")
        print("|---|---:|---:|---:|---:|")
        for name, (n, dropped, equal, different) in found.items():
            reasons = {i: [theirs[i][name], mine[i][name]] if name == "first" else [name] for i in different}
            unlike = [i for i in different if not any(is_explained(made[i], words, str(one)) for one in reasons[i])]
            explained = len(different) - len(unlike)
            print(f"| `{name}` | {n:,} | {dropped / n:.1%} | {equal / n:.2%} | {explained} |", flush=True)
            differs += len(unlike)
            for i in unlike[:2]:
                shown = json.dumps(made[i], ensure_ascii=False)[:600]
                print(f"--- {name}: {theirs[i][name]}, {mine[i][name]}\n{shown}", file=sys.stderr)
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
