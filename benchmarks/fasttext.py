"""Speed of predictions beside the fastText library, on models that are trained here.

    .venv/bin/python -m benchmarks.fasttext [--megabytes 4]

Text is made up: words drawn by Zipf's law, some of them more often under each label. Everything runs on one core in one
process, times are processor time, and the library gets lines that are made before the clock starts. ``off by`` is the
largest difference of a probability of the labels that are compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fasttext
import numpy as np
import pyarrow as pa

from curate.base.text import text_buffers
from curate.quality.fasttext_file import read_model

WORDS = 20_000


class Case(NamedTuple):
    """A model, and the texts that it is asked about."""

    name: str
    labels: int
    words_of_text: int
    train_texts: int
    options: dict[str, Any]
    quantise: bool = False


CASES = (
    Case("2 labels, word bigrams", 2, 500, 2_000, {"wordNgrams": 2, "dim": 100, "bucket": 200_000}),
    Case("2 labels, word bigrams, large", 2, 500, 2_000, {"wordNgrams": 2, "dim": 100, "bucket": 2_000_000}),
    Case("2,000 labels, n-grams", 2_000, 20, 6_000, {"minn": 2, "maxn": 5, "dim": 100, "bucket": 200_000}),
    Case("2,000 labels, n-grams, long", 2_000, 500, 2_000, {"minn": 2, "maxn": 5, "dim": 100, "bucket": 200_000}),
    Case("2,000 labels, quantised", 2_000, 20, 6_000, {"minn": 2, "maxn": 5, "dim": 20, "bucket": 20_000}, True),
)


def made_up(generator: np.random.Generator, n: int, words_of_text: int, labels: int) -> list[tuple[int, str]]:
    """(label, text) of n texts."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    sizes = 2 + generator.poisson(4, WORDS)
    words = np.array(["".join(generator.choice(letters, size)) for size in sizes])
    shares = 1 / np.arange(1, WORDS + 1)
    drawn = generator.choice(WORDS, (n, words_of_text), p=shares / shares.sum())
    label = np.arange(n) % labels
    own = generator.random((n, words_of_text)) < 0.2
    drawn = np.where(own, (label[:, None] * 17 + drawn % 13) % WORDS, drawn)
    return [(int(one), " ".join(words[row])) for one, row in zip(label, drawn, strict=True)]


def best(function: Callable[[], object], times: int = 5) -> float:
    """Seconds of processor time of the fastest of several calls."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def measured(case: Case, folder: Path, megabytes: float) -> tuple[float, float, float]:
    """(MB/s of the library, here, largest difference)."""
    generator = np.random.default_rng(1)
    lines = [
        f"__label__{label} {text}\n"
        for label, text in made_up(generator, case.train_texts, case.words_of_text, case.labels)
    ]
    (folder / "lines.txt").write_text("".join(lines))
    # Twelve threads, so that all of the matrix is initialised.
    trained = fasttext.train_supervised(
        str(folder / "lines.txt"), epoch=1, thread=12, verbose=0, lr=0.5, **case.options
    )
    if case.quantise:
        trained.quantize(qnorm=True)
    trained.save_model(str(folder / "model"))
    texts = [
        text
        for _, text in made_up(
            generator, max(10, int(megabytes * 1e6 / 6.5 / case.words_of_text)), case.words_of_text, case.labels
        )
    ]
    model, predict = read_model(folder / "model"), fasttext.load_model(str(folder / "model")).f.predict
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    # Compiles, and fetches the pages of the file.
    label, score, *_ = model.predict(data, offsets, offsets[1:])
    theirs = [predict(text + "\n", 1, 0.0, "strict")[0] for text in texts]
    wrong = sum(model.labels[k] != name for k, (_, name) in zip(label.tolist(), theirs, strict=True))
    if wrong:
        print(f"{wrong} of {len(texts)} labels differ")
    off = float(np.abs(score - [p for p, _ in theirs]).max())
    size = len(data) / 1e6
    here = best(lambda: model.predict(data, offsets, offsets[1:]))
    lines = [text + "\n" for text in texts]
    library = best(lambda: [predict(line, 1, 0.0, "strict") for line in lines], 3)
    return size / library, size / here, off


def main() -> None:
    """Prints one line for each model."""
    fasttext.FastText.eprint = lambda *arguments, **named: None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=4.0)
    options = parser.parse_args()
    print("MB/s on one core".ljust(32), *(name.rjust(9) for name in ("library", "here", "ratio", "off by")))
    for case in CASES:
        size = options.megabytes if case.labels == 2 else options.megabytes / 4
        with tempfile.TemporaryDirectory() as folder:
            library, here, off = measured(case, Path(folder), size)
        print(case.name.ljust(32), f"{library:9.2f} {here:9.2f} {here / library:9.2f} {off:9.0e}", flush=True)


if __name__ == "__main__":
    main()
