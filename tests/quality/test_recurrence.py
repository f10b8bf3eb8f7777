"""Recurrence of rare terms: counted as the definition says, high where names come back, low in joined and copied texts."""

from __future__ import annotations

import math
import random

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.compiled import kernel
from curate.quality.grams import (
    BLOCK_BYTES,
    COPIED_WORDS,
    LONG_BYTES,
    LOOKED,
    MET,
    NEAR_BLOCKS,
    RECURRENCE_COUNTS,
    TERM_WORDS,
    copied_words,
    measure_recurrence,
)
from curate.quality.signals import measure


@kernel
def counted(names, live, first, n_bytes, out):
    copied = copied_words(len(names), live, len(live), first)
    measure_recurrence(names, copied, n_bytes, out)


def repeating(words):
    """(places of the runs of COPIED_WORDS that repeat, first place of each run)."""
    runs = [tuple(words[i : i + COPIED_WORDS]) for i in range(len(words) - COPIED_WORDS + 1)]
    live = [i for i, run in enumerate(runs) if runs.count(run) > 1]
    first = np.zeros(len(words), np.uint32)
    first[live] = [runs.index(runs[i]) for i in live]
    return np.array(live, np.uint32), first


def by_hand(words, n_bytes):
    """(met, looked): the definition, word for word."""
    n, blocks = len(words), n_bytes // BLOCK_BYTES
    block_of = [next(b for b in range(blocks) if i < (b + 1) * n // blocks) for i in range(n)]
    runs, copied = set(), [False] * n
    for i in range(n - COPIED_WORDS + 1):
        run = tuple(words[i : i + COPIED_WORDS])
        if run in runs:
            copied[i : i + COPIED_WORDS] = [True] * COPIED_WORDS
        runs.add(run)
    times, own = {}, set()
    for word, block, is_copied in zip(words, block_of, copied, strict=True):
        times[word, block] = times.get((word, block), 0) + 1
        if not is_copied:
            own.add((word, block))
    met = looked = 0
    for (word, block), count in times.items():
        if count < TERM_WORDS or 2 * sum((word, b) in times for b in range(blocks)) > blocks:
            continue
        for sign in (-1, 1):
            far = [block + sign * distance for distance in range(NEAR_BLOCKS, 2 * NEAR_BLOCKS)]
            if all(0 <= b < blocks for b in far):
                looked += 1
                met += (word, block) in own and any((word, b) in own for b in far)
    if 2 * sum(copied) > n:
        looked = max(looked, 1)
    return met, looked


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 900), st.integers(1, 120), st.integers(8, 40), st.booleans())
def test_counts_are_those_of_the_definition(seed, n, distinct, blocks, copies):
    rng = np.random.default_rng(seed)
    words = np.sort(rng.zipf(1.3, n) % distinct)
    words = np.roll(words, 7)[np.argsort(np.arange(n) + rng.integers(0, 200, n), kind="stable")]  # words in clusters
    if copies:
        words = np.concatenate([words, words[: n // 2]])
    _, first, inverse = np.unique(words, return_index=True, return_inverse=True)
    names, out = first[inverse].astype(np.uint32), np.zeros(RECURRENCE_COUNTS, np.int64)
    n_bytes = blocks * BLOCK_BYTES + int(rng.integers(0, BLOCK_BYTES))
    counted(names, *repeating(names.tolist()), n_bytes, out)
    assert (out[MET], out[LOOKED]) == by_hand(names.tolist(), n_bytes)


def prose(rng, terms, n_bytes):
    """Common words, and in each stretch a few of the terms several times."""
    found, size = [], 0
    while size < n_bytes:
        topic = rng.sample(terms, 3)
        for _ in range(150):
            word = rng.choice(topic) if rng.random() < 0.15 else f"common{int(rng.expovariate(0.02))}"
            found.append(word)
            size += len(word) + 1
    return " ".join(found)


def test_a_story_comes_back_to_its_names_and_joined_texts_do_not():
    rng = random.Random(4)
    story = prose(rng, [f"name{i}" for i in range(30)], 120_000)
    joined = " ".join(prose(rng, [f"of{i}name{k}" for k in range(3)], 3_000) for i in range(40))
    page = prose(rng, [f"name{i}" for i in range(30)], 5_000)
    texts = [story, joined, f"{page} " * 24, f"{story} {story}", "short text " * 40]
    found = measure(pa.array(texts, pa.large_string()))["rare_recurrence"].to_pylist()
    assert found[0] > 0.4 > 0.1 > found[1]
    assert found[2] == 0, "nothing but copies"
    assert found[3] < 0.6 * found[0], "half of it is a copy"
    assert math.isnan(found[4])


def test_the_shortest_measured_text_has_eight_blocks():
    assert LONG_BYTES == 32_768
    words = [f"w{i}" for i in range(5_000)]
    words[100:103], words[4_900] = ["name"] * 3, "name"
    text = " ".join(words)[:LONG_BYTES]
    last = text.rfind(" ")
    text = f"{text[: last - 5]} name".ljust(LONG_BYTES, "x")
    found = measure(pa.array([text, text[:-1]], pa.large_string()))["rare_recurrence"].to_pylist()
    assert not math.isnan(found[0])
    assert math.isnan(found[1])
