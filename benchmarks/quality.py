"""Speed of the quality statistics beside plain Python, on corpora given as arguments.

    .venv/bin/python -m benchmarks.quality corpus.jsonl.zst [more.jsonl.zst …] [--sample 200] [--language]

Everything runs on one core in one process; times are processor time. Plain Python is the reference of the tests
(tests/quality/reference.py) with the same words, on a sample, since it is two orders slower. ``fasttext`` is the library
alone on the same lines. datatrove's own filters run beside ours in ``python3 tasks.py conformance``.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fasttext
import pyarrow as pa
import zstandard

from curate.quality.c4 import c4_lines, line_parameters
from curate.quality.language import PREFIX_BYTES, find_model, language_model
from curate.quality.rule_sets import FINEWEB
from curate.quality.signals import measure, measure_signals
from curate.quality.training import lines_of
from curate.quality.verdicts import decide

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "quality"))


def read(path: Path, field: str) -> list[str]:
    """The texts of a JSON Lines file, compressed or not."""
    with open(path, "rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file) if path.suffix == ".zst" else file
        return [json.loads(line)[field] for line in io.TextIOWrapper(stream, encoding="utf-8")]


def best(function: Callable[[], object], times: int = 3) -> float:
    """Seconds of processor time of the fastest of several calls."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    """Prints one line for each corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path)
    parser.add_argument("--field", default="text")
    parser.add_argument("--sample", type=int, default=100, help="documents that plain Python measures")
    parser.add_argument("--language", action="store_true", help="language identification, too")
    options = parser.parse_args()
    import reference  # type: ignore[import-not-found]

    rules = {"web": line_parameters("fineweb", {})}
    columns = (
        ["measure", "c4_lines", "all_four", "decide"]
        + ["language", "fasttext"] * options.language
        + ["python", "ratio"]
    )
    print("MB/s on one core".ljust(28), "MB".rjust(8), *(name.rjust(9) for name in columns))
    for path in options.corpora:
        texts = read(path, options.field)
        column = pa.array(texts, pa.large_string())
        batch = pa.table(
            {"doc_id": pa.array(range(len(texts)), pa.uint64()), "source": ["web"] * len(texts), "text": column}
        )
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        # Once before the clock starts: compiling is not measured.
        signals, _ = measure_signals(batch, None, {}, rules)
        calls: list[Callable[[], object]] = [
            partial(measure, column),
            partial(c4_lines, column, rules["web"]),
            partial(measure_signals, batch, None, {}, rules),
            partial(decide, signals, list(FINEWEB), preset="fineweb"),
        ]
        speeds = [megabytes / best(call) for call in calls]
        if options.language:
            model = str(find_model(None))
            speeds.append(megabytes / best(partial(language_model(model).identify, column)))
            predict, lines = fasttext.load_model(model).f.predict, list(lines_of(column, PREFIX_BYTES))
            speeds.append(
                megabytes / best(lambda p=predict, texts=lines: [p(text, 1, 0.0, "strict") for text in texts])
            )  # type: ignore[misc]
        # Evenly spread and short, so that plain Python ends within a minute.
        sample = [text[:100_000] for text in texts[:: max(1, len(texts) // options.sample)]]
        size = sum(len(text.encode()) for text in sample) / 1e6
        speeds.append(size / best(lambda texts=sample: [reference.measure(text) for text in texts], 1))  # type: ignore[misc]
        speeds.append(speeds[0] / speeds[-1])
        print(path.name.ljust(28), f"{megabytes:8.1f}", *(f"{speed:9.1f}" for speed in speeds), flush=True)


if __name__ == "__main__":
    main()
