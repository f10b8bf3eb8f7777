"""Tokenizing on one thread: pieces remembered, tiktoken's engine alone, and Hugging Face's `encode_batch` on all threads.

    python benchmarks/tokens.py FILE… [--megabytes 30] [--vocabulary 16000] [--rounds 3]

For each file (JSONL, Parquet, texts), a tokenizer is trained on its first tenth. *New*: nothing is remembered before;
*known*: the pieces of these texts are. In each round the engines follow each other, and the median over the rounds is
shown; all ids are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import pyarrow as pa
from passages import texts_of

from curate.tokens.encoder import Encoder, train


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def measure(texts: list[str], vocabulary: int, rounds: int) -> tuple[list[float], float]:
    """(MB/s of the four, share of the text that is new to the engine)."""
    encoder = Encoder(train(texts[: max(1, len(texts) // 10)], vocabulary).encode())
    if encoder.engine != "tiktoken":
        raise SystemExit(f"the tokenizer cannot use the faster engine: {encoder.why}")
    column = pa.array(texts, pa.large_string())
    size = column.nbytes / 1e6
    encoder.encode(column[:5])
    asked = [0]
    engine = encoder._pieces._encode

    def counting(text: str) -> Any:
        asked[0] += len(text.encode())
        return engine(text)

    encoder._pieces._encode = counting
    seconds: list[list[float]] = [[] for _ in range(4)]
    for _ in range(rounds):
        encoder._pieces.forget()
        asked[0] = 0
        first, (ids, _) = timed(lambda: encoder.encode(column))
        new = asked[0] / column.nbytes
        second, (again, _) = timed(lambda: encoder.encode(column))
        third, alone = timed(lambda: [encoder._fast.encode(text) for text in texts])
        fourth, batch = timed(lambda: encoder._tokenizer.encode_batch(texts, add_special_tokens=False))
        wanted = np.concatenate([one.ids for one in batch])
        if not all(np.array_equal(wanted, found) for found in (ids, again, np.concatenate(alone))):
            raise SystemExit("the ids differ")
        for one, of_all in zip((first, second, third, fourth), seconds, strict=True):
            of_all.append(one)
    return [size / statistics.median(one) for one in seconds], new


def main() -> None:
    """Measure each file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--vocabulary", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    threads = os.cpu_count()
    print(
        f"| corpus | asked of the engine | new | known | tiktoken | `encode_batch`, {threads} threads | new / tiktoken |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for file in options.files:
        texts = [text for text in texts_of(file) if text.strip()]
        sizes = accumulate(len(text.encode()) for text in texts)
        texts = [text for text, size in zip(texts, sizes, strict=True) if size <= options.megabytes * 1e6]
        speeds, new = measure(texts, options.vocabulary, options.rounds)
        cells = " | ".join(f"{speed:.1f}" for speed in speeds)
        size = sum(len(text.encode()) for text in texts) / 1e6
        print(f"| {file.name}, {size:.1f} MB | {new:.0%} | {cells} | {speeds[0] / speeds[2]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
