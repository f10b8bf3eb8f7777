"""Speed of signatures: text to 112 minima over 5-grams of words, beside datasketch on the same texts.

    python benchmarks/signatures.py CORPUS.jsonl.zst … [--limit-mb 40] [--repeats 5] [--markdown]

A corpus is JSONL (.zst or plain) with `text`. Times are CPU seconds of one thread, the best of the repeats, compiling
aside; MB are UTF-8 bytes of text. datasketch gets up to 2 MB of the same texts, once with everything from the text on
(words by regular expression, SHA-1), once only with the permutations (ready 32-bit hashes in one array a document).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard
from datasketch import MinHash

from curate.dedup.minhash import MinHashParams, sign
from curate.dedup.shingles import shingle_sets

DATASKETCH_BYTES = 2_000_000
COLUMNS = ("corpus", "MB", "documents", "signatures", "shingle sets", "datasketch", "its permutations", "ratio")


def texts_of(path: Path, limit: int) -> list[str]:
    """Texts of a JSONL file up to ``limit`` characters."""
    texts: list[str] = []
    read = 0
    with path.open("rb") as raw:
        stream: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            texts.append(json.loads(line)["text"])
            read += len(texts[-1])
            if read >= limit:
                break
    return texts


def seconds(work: Callable[[], object], repeats: int) -> float:
    """CPU seconds of this thread, the best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best


def datasketch_whole(texts: list[str], params: MinHashParams) -> None:
    """What a user of datasketch writes: words, shingles as bytes, one update a document."""
    word = re.compile(r"\w+")
    sketch = MinHash(num_perm=params.num_perm, seed=params.seed, scheme="affine32")
    for text in texts:
        words = word.findall(text.casefold())
        shingles = {
            " ".join(words[i : i + params.ngram]).encode() for i in range(max(1, len(words) - params.ngram + 1))
        }
        sketch.clear()
        sketch.update_batch(shingles)


def datasketch_permutations(hashes: list[list[int]], params: MinHashParams) -> list[MinHash]:
    """Only the permutations, from 32-bit shingle hashes."""
    sketch = MinHash(num_perm=params.num_perm, seed=params.seed, scheme="affine32", hashfunc=lambda value: value)
    done = []
    for values in hashes:
        one = sketch.copy()
        one.update_batch(values)
        done.append(one)
    return done


def row(path: Path, limit: int, repeats: int) -> tuple[str, ...]:
    """One line of the table; checks that both give the same signatures."""
    params = MinHashParams()
    texts = texts_of(path, limit)
    column = pa.array(texts, pa.large_string())
    mb = sum(len(text.encode()) for text in texts) / 1e6
    sign_s = seconds(lambda: sign(column, params), repeats)
    sets_s = seconds(lambda: shingle_sets(column, params.ngram), repeats)
    few, size = [], 0
    for text in texts:
        if few and size + len(text) > DATASKETCH_BYTES:
            break
        few.append(text[:DATASKETCH_BYTES])
        size += len(few[-1])
    few_mb = sum(len(text.encode()) for text in few) / 1e6
    values, offsets = shingle_sets(pa.array(few, pa.large_string()), params.ngram)
    hashes = [(values[a:b] & np.uint64(0xFFFFFFFF)).tolist() for a, b in itertools.pairwise(offsets)]
    whole_s = seconds(lambda: datasketch_whole(few, params), 1)
    permutations_s = seconds(lambda: datasketch_permutations(hashes, params), 1)
    signed = sign(pa.array(few, pa.large_string()), params).signature
    for ours, theirs in zip(signed, datasketch_permutations(hashes, params), strict=True):
        if not np.array_equal(ours, theirs.hashvalues):
            raise SystemExit(f"{path}: a signature differs from datasketch's")
    return (
        path.name.split(".")[0],
        f"{mb:.1f}",
        f"{len(texts):,}",
        f"{mb / sign_s:.0f} MB/s",
        f"{mb / sets_s:.0f} MB/s",
        f"{few_mb / whole_s:.2f} MB/s",
        f"{few_mb / permutations_s:.2f} MB/s",
        f"{(mb / sign_s) / (few_mb / whole_s):.0f}",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS")
    parser.add_argument("--limit-mb", type=float, default=40.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    sign(pa.array(["to compile"]), MinHashParams())
    shingle_sets(pa.array(["to compile"]), 5)
    lines = [COLUMNS, *(row(path, int(arguments.limit_mb * 1e6), arguments.repeats) for path in arguments.corpora)]
    if arguments.markdown:
        lines.insert(1, ("---",) * len(COLUMNS))
    for line in lines:
        print("| " + " | ".join(line) + " |" if arguments.markdown else "".join(f"{cell:>20}" for cell in line))


if __name__ == "__main__":
    main()
