"""The whole run against a tokenizer alone: from raw text to shards, and Hugging Face's `encode_batch` over the same text.

    python benchmarks/headline.py FOLDER… [--megabytes 200] [--work DIR] [--prepare]

FOLDER holds texts (JSONL, Parquet, .txt, .md), or is such a file. Every document is taken as it is; what is then missing
to the wanted size is made of their sentences (of letters, mostly) in an order drawn by hash, in documents of 1 to 16 kB:
text with the words of the corpus in which no passage is a duplicate. A byte-level BPE of 32,000 tokens is trained on a sample, once, and given to both sides.

The run reads, measures, deduplicates, tokenizes, embeds, orders, packs and writes Parquet on all cores with Ray. Ray with
its worker processes is started before, which is shown as start-up; the run's time is all that follows. The tokenizer has
as many threads as there are cores and its text in memory. Processor seconds are shown, too: other work on the machine
changes them less. A last line sets the tokenize stage against tiktoken's engine,
bare, in as many processes. ``--work`` keeps corpus and tokenizer for the next time; ``--prepare`` stops there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
from passages import texts_of

from curate.base.hashing import document_hash

VOCABULARY = 32_000
FILE_BYTES = 16_000_000
PARTITION_BYTES = 8_000_000  # enough partitions for the cores to end together
BATCH_BYTES = 4_000_000
SAMPLE_BYTES = 20_000_000
MIN_SHARE = 0.8

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def is_prose(sentence: str) -> bool:
    """Whether nine of ten words have a letter."""
    words = sentence.split()
    return sum(any(map(str.isalpha, word)) for word in words) >= 0.9 * len(words)


def shuffled(texts: list[str], wanted: int, seed: int) -> Iterator[str]:
    """Documents of sentences of the texts in an order drawn by hash, until ``wanted`` bytes are made."""
    sentences = [one for text in texts for one in _SENTENCE.split(text) if len(one) > 20 and is_prose(one)]
    order = np.argsort(document_hash(seed, "sentences", np.arange(len(sentences), dtype=np.uint64)))
    sizes = 1_000 + document_hash(seed, "sizes", np.arange(len(sentences), dtype=np.uint64)) % np.uint64(15_000)
    made, held, size, number = 0, [], 0, 0
    for at in np.resize(order, len(order) * 10).tolist():
        held.append(sentences[at])
        size += len(sentences[at].encode()) + 1
        if size >= int(sizes[number % len(sizes)]):
            yield "\n\n".join(" ".join(held[i : i + 5]) for i in range(0, len(held), 5))
            made, held, size, number = made + size, [], 0, number + 1
            if made >= wanted:
                return


def prepare(folders: list[Path], work: Path, wanted: int, seed: int) -> None:
    """The corpus in files of JSON lines, and the tokenizer."""
    from curate.tokens.encoder import train

    texts = [text for folder in folders for text in texts_of(folder) if text.strip()]
    size = sum(len(text.encode()) for text in texts)
    texts += shuffled(texts, wanted - size, seed) if size < wanted else []
    order = np.argsort(document_hash(seed, "documents", np.arange(len(texts), dtype=np.uint64))).tolist()
    place = work / "text"
    place.mkdir(parents=True, exist_ok=True)
    total, taken, number = 0, [], 0
    out = (place / f"{number:03d}.jsonl").open("w", encoding="utf-8")
    for at in order:
        if total >= wanted:
            break
        if out.tell() > FILE_BYTES:
            out.close()
            number += 1
            out = (place / f"{number:03d}.jsonl").open("w", encoding="utf-8")
        out.write(json.dumps({"text": texts[at]}, ensure_ascii=False) + "\n")
        total += len(texts[at].encode())
        if total <= SAMPLE_BYTES:
            taken.append(texts[at])
    out.close()
    (work / "tokenizer.json").write_text(train(taken, VOCABULARY), encoding="utf-8")


def read(work: Path) -> list[str]:
    """The texts of the corpus."""
    files = sorted((work / "text").glob("*.jsonl"))
    return [json.loads(line)["text"] for file in files for line in file.open(encoding="utf-8")]


def tokenizer_alone(work: Path, texts: list[str]) -> tuple[float, int]:
    """(seconds, tokens) of ``encode_batch`` over the texts, some megabytes at a time."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    tokenizer.encode_batch(texts[:50])
    batches: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if size > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    began, tokens = time.perf_counter(), 0
    for batch in batches:
        tokens += sum(len(one.ids) for one in tokenizer.encode_batch(batch, add_special_tokens=False))
    return time.perf_counter() - began, tokens


def bare_engine(file: Path, tokenizer: Path) -> tuple[int, float]:
    """(bytes, seconds) of tiktoken's engine over the texts of one file, in memory."""
    from curate.tokens.fast_bpe import FastBpe

    texts = [json.loads(line)["text"] for line in file.open(encoding="utf-8")]
    engine = FastBpe(json.loads(tokenizer.read_text(encoding="utf-8")))
    began = time.perf_counter()
    for text in texts:
        engine.encode(text)
    return sum(len(text.encode()) for text in texts), time.perf_counter() - began


def processor_seconds() -> float:
    """Of this process and all that descend from it (Linux)."""
    parent, spent = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parent[int(place.name)] = int(fields[1])
        spent[int(place.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    mine, found = {os.getpid()}, 0
    while len(mine) > found:
        found = len(mine)
        mine |= {process for process, of in parent.items() if of in mine}
    return sum(spent[process] for process in mine)


def import_task() -> None:
    """What a worker process loads for its first task."""
    import curate.stages.ingest  # noqa: F401


def whole_run(work: Path, cpus: int) -> tuple[float, float, float, list[tuple[str, float]], dict[str, object]]:
    """(seconds of the start, of the run, its processor seconds, seconds by stage, statistics) of one run into a fresh workspace."""
    began = time.perf_counter()
    import ray

    import curate
    from curate.driver.plan import stages
    from curate.engine.engines import RayEngine

    stages()  # imported in this process, as the tokenizer is in its own
    engine = RayEngine(cpus)
    engine.start()  # the run takes the Ray that it finds in its process
    call = ray.remote(import_task)
    ray.get([call.remote() for _ in range(cpus)])
    start = time.perf_counter() - began
    workspace = work / "run"
    shutil.rmtree(workspace, ignore_errors=True)
    recipe = {
        "workspace": str(workspace),
        "engine": "ray",
        "inputs": [{"source": "text", "path": f"{work}/text/*.jsonl"}],
        "ingest": {"partition_bytes": PARTITION_BYTES},
        "tokenizer": {"path": str(work / "tokenizer.json")},
    }
    before, began = processor_seconds(), time.perf_counter()
    run = curate.run(recipe, cpus=cpus)
    seconds, spent = time.perf_counter() - began, processor_seconds() - before
    engine.close()
    stats = run.stats()
    return (
        start,
        seconds,
        spent,
        [(f"{one['stage']} → {', '.join(one['writes'])}", one["seconds"]) for one in stats["seconds"]],
        stats,
    )


def main() -> None:
    """Prepare, measure both, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="curate-headline-"))
    cpus = os.cpu_count() or 1
    try:
        if not (work / "tokenizer.json").exists():
            prepare(given.folders, work, given.megabytes * 1_000_000, given.seed)
        if given.prepare:
            return
        start, seconds, spent, stages, stats = whole_run(work, cpus)
        texts = read(work)
        size = sum(len(text.encode()) for text in texts) / 1e6
        clock = time.process_time()
        alone, tokens = tokenizer_alone(work, texts)
        clock = time.process_time() - clock
        # Not forked: this process has the threads of Ray and of the tokenizer.
        with ProcessPoolExecutor(cpus, multiprocessing.get_context("spawn")) as pool:
            files = sorted((work / "text").glob("*.jsonl"))[: 4 * cpus]
            bare = list(pool.map(bare_engine, files, [work / "tokenizer.json"] * len(files)))
    finally:
        if given.work is None:
            shutil.rmtree(work, ignore_errors=True)
    kept = stats["lengths"]["all"]["tokens"] / tokens  # type: ignore[index]
    inside = sum(one for _, one in stages)
    print(f"{len(texts):,} documents, {size:,.0f} MB of text, {tokens:,} tokens; {cpus} cores\n")
    print("| stage | seconds | of the run |")
    print("|---|---|---|")
    for name, one in stages:
        print(f"| {name} | {one:.1f} | {one / seconds:.1%} |")
    print(f"| before, between and after them | {seconds - inside:.1f} | {1 - inside / seconds:.1%} |")
    print(f"\nwhole run: {seconds:.1f} s, {size / seconds:.1f} MB/s; start-up of Ray, not in it: {start:.1f} s")
    print(f"encode_batch alone: {alone:.1f} s, {size / alone:.1f} MB/s")
    print(f"processor seconds: {spent:.0f} and {clock:.0f}; {spent / clock:.2f}")
    print(f"run / encode_batch: {seconds / alone:.2f}; tokens that survive: {kept:.1%}")
    engine = cpus * sum(part[0] for part in bare) / sum(part[1] for part in bare) / 1e6
    in_stage = next(one for name, one in stages if name.startswith("tokenize"))
    speed = kept * size / in_stage
    print(
        f"tokenize stage: {speed:.1f} MB/s; tiktoken's engine alone in {cpus} processes: {engine:.1f}; {speed / engine:.2f}"
    )
    if kept < MIN_SHARE:
        raise SystemExit(f"less than {MIN_SHARE:.0%} of the tokens survived: the comparison does not hold")


if __name__ == "__main__":
    main()
