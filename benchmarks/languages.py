"""Speed of the quality statistics by script, beside ICU's own iteration in the same run: ``python -m benchmarks.languages``.

Texts are the words of a few sentences of each language, drawn at random. ``ICU alone`` sets each text and takes every
boundary; ``statistics`` measures everything that the rules need, with words by ICU where a script puts no spaces between
words. Seconds are processor time, the least of several rounds. ``--texts FILE.jsonl`` (records with ``key`` and ``text``)
takes the words from other texts.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import icu
import numpy as np
import pyarrow as pa

from curate.quality.icu_words import breaks_of, icu_version
from curate.quality.signals import measure_with_lines
from curate.quality.word_list import list_words
from tests.conformance.languages import texts_of, words_of

LEAST = 0.6
"""Statistics with ICU's words are at least this part of ICU's own speed."""

DOCUMENT_BYTES = 20_000


def drawn(text: str, words: str, size: int, seed: int) -> list[str]:
    """Texts of ``size`` bytes together: words of ``text`` in random order, a sentence of a dozen a line."""
    draw = random.Random(seed)
    told = list_words(pa.array([text], pa.large_string()), words)[1].to_pylist()
    between = " " if words == "plain" else ""
    texts: list[str] = []
    while size > 0:
        lines, left = [], DOCUMENT_BYTES
        while left > 0:
            lines.append(between.join(draw.choices(told, k=draw.randint(6, 20))))
            left -= len(lines[-1].encode())
        texts.append("\n".join(lines))
        size -= len(texts[-1].encode())
    return texts


def best(action: Callable[[], object], rounds: int) -> float:
    """The least processor time of several rounds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return min(times)


def iterate(texts: list[str]) -> int:
    """ICU's iteration alone."""
    iterator = icu.BreakIterator.createWordInstance(icu.Locale.getRoot())
    found = 0
    for text in texts:
        iterator.setText(icu.UnicodeString(text))
        found += len(np.fromiter(iterator, np.int32))
    return found


def main() -> int:
    """Prints a table; 1 where statistics are slower than :data:`LEAST` of ICU alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="a file with a text of each language")
    parser.add_argument("--megabytes", type=float, default=2, help="of each language")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{icu_version()}\n\n| | ICU alone, MB/s | words by ICU, MB/s | statistics, MB/s | of ICU alone |\n|---|---:|---:|---:|---:|"
    )
    slow = False
    for seed, (key, text) in enumerate(texts_of(options.texts).items()):
        words = words_of(key)
        texts = drawn(text, words, int(options.megabytes * 1e6), seed)
        column = pa.array(texts, pa.large_string())
        size = sum(len(text.encode()) for text in texts) / 1e6
        measure_with_lines(column[:1], words=words)
        statistics = size / best(
            lambda column=column, words=words: measure_with_lines(column, words=words), options.rounds
        )  # type: ignore[misc]
        if words == "plain":
            print(f"| {key} | – | – | {statistics:.1f} | – |")
            continue
        alone = size / best(lambda texts=texts: iterate(texts), options.rounds)  # type: ignore[misc]
        told = size / best(lambda column=column: breaks_of(column), options.rounds)  # type: ignore[misc]
        print(f"| {key} | {alone:.1f} | {told:.1f} | {statistics:.1f} | {statistics / alone:.2f} |", flush=True)
        slow = slow or statistics < LEAST * alone
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
