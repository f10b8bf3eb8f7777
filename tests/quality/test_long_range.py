import math
import random

import pyarrow as pa

from curate.quality.grams import RANGE_LONG_BYTES as LONG_BYTES
from curate.quality.grams import long_range


def words(seed: int, n: int, vocabulary: int = 60_000) -> str:
    rng = random.Random(seed)
    return " ".join(f"{rng.randrange(vocabulary):x}" for _ in range(n))


def test_what_comes_back_from_afar_is_a_gain() -> None:
    part = words(1, 8_000)
    texts = [
        "short " * 100,
        words(2, 16_000),  # nothing comes back
        part + words(3, 8_000) + part,  # comes back from beyond a block
        "the same line again\n" * 3_000,  # comes back within a block
    ]
    found = long_range(pa.array(texts, pa.large_string()))
    gain, ratio = found["long_range_gain"], found["compression_ratio"]
    assert math.isnan(gain[0])
    assert math.isnan(ratio[0])
    assert gain[2] > gain[1] + 0.2
    assert ratio[3] < 0.01 < 0.3 < ratio[1]


def test_only_long_texts_have_values() -> None:
    texts = pa.array(["x" * (LONG_BYTES - 1), "é" * (LONG_BYTES // 2), "x" * LONG_BYTES], pa.large_string())
    assert [math.isnan(value) for value in long_range(texts)["long_range_gain"]] == [True, False, False]
    assert len(long_range(pa.array([], pa.large_string()))["long_range_gain"]) == 0
