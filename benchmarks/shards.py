"""Shard formats: size, writing and reading; and readers under PyTorch's DataLoader, against the trainers' own.

    python benchmarks/shards.py [--tokens N] [--window L] [--seed S]

Documents have log-normal lengths (mean 892 tokens) and skewed random ids (Zipf, vocabulary 32,000), packed by best fit.
Times are of one process and the best of three, files in the page cache. The second table needs ``.venv-consumers``
(``make consumers``) and runs there: batches of 8 windows, each reader in a process of its own, without workers and with
two; what a batch must hold is int64 ids.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from curate.base.catalog import KIND_DOCUMENT
from curate.packing.plan import pack
from curate.shards import conservation
from curate.shards.denoise import Mixture, corrupt, restore, window_key
from curate.shards.formats import mds, megatron, parquet, webdataset
from curate.shards.formats import numpy as memmap
from curate.shards.windows import ShardWindows, windows_of_plan

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-consumers" / "bin" / "python"
VOCABULARY = 32_000
SHARD_WINDOWS = 256


def corpus(tokens: int, size: int, seed: int) -> ShardWindows:
    """About ``tokens`` tokens in windows of ``size``."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(892) - 0.5, 1.0, max(1, tokens // 892)), 1, 10**7).astype(np.int64)
    pieces = pack("best_fit", lengths, size)
    order = np.argsort(pieces.window, kind="stable")
    window, item, start, length = (
        column[order] for column in (pieces.window, pieces.item, pieces.start, pieces.length)
    )
    ids = np.minimum(rng.zipf(1.2, int(length.sum())), VOCABULARY - 1).astype(np.uint16)
    n = len(window)
    return windows_of_plan(
        size,
        window.astype(np.uint32),
        np.full(n, KIND_DOCUMENT, np.uint8),
        item.astype(np.uint64) * np.uint64(977),
        np.zeros(n, np.uint16),
        start.astype(np.uint32),
        length.astype(np.uint32),
        ids,
    )


def best(call: Callable[[], object]) -> float:
    """Seconds of the best of three."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def consume(parts: object) -> None:
    """Read everything."""
    for _ in parts:  # type: ignore[attr-defined]
        pass


def write(form: str, shards: list[ShardWindows], folder: Path) -> None:
    """All shards in one format, as the stage lays them out."""
    place = folder / form
    place.mkdir(exist_ok=True)
    entries = []
    with (place / "tokens.bin").open("wb") if form == "megatron" else open(os.devnull, "wb") as whole:
        for s, windows in enumerate(shards):
            if form == "parquet":
                parquet.write(windows, str(place / f"shard-{s:05d}.parquet"))
            elif form == "mds":
                stated = mds.write(windows, str(place / mds.shard_name(s)))
                entries.append((mds.shard_name(s), stated["bytes"], stated["samples"]))
            elif form == "numpy":
                memmap.write_tokens(windows, str(place / f"shard-{s:05d}.npy"), 0)
                memmap.write_index(windows, str(place / f"shard-{s:05d}.npz"))
            elif form == "webdataset":
                webdataset.write(windows, str(place / f"shard-{s:05d}.tar"), s)
            else:
                megatron.write_part(windows, str(folder / "part"), 0)
                with (folder / "part").open("rb") as part:
                    shutil.copyfileobj(part, whole)
                (folder / "part").unlink()
    if form == "mds":
        (place / "index.json").write_text(mds.index(entries, np.dtype(np.uint16)))
    if form == "megatron":
        n = sum(len(windows) for windows in shards)
        megatron.write_index(str(place / "tokens.idx"), n, shards[0].size, np.dtype(np.uint16))


def read(form: str, size: int, folder: Path) -> None:
    """Every window with its segments, checked as ``curate verify`` does."""
    place = folder / form
    if form == "parquet":
        for path in sorted(place.glob("*.parquet")):
            consume(parquet.read(str(path)))
    elif form == "mds":
        for path in sorted(place.glob("*.mds")):
            consume(mds.read(str(path), size))
    elif form == "numpy":
        for path in sorted(place.glob("*.npy")):
            consume(memmap.read(str(path), str(path.with_suffix(".npz")), np.dtype(np.uint16), 0))
    elif form == "webdataset":
        for path in sorted(place.glob("*.tar")):
            consume(webdataset.read(str(path), size))
    else:
        consume(megatron.read(str(place / "tokens.bin"), size, np.dtype(np.uint16)))


def formats(windows: ShardWindows, shards: list[ShardWindows], folder: Path) -> None:
    """The first table."""
    tokens, plain = len(windows.tokens), 2 * len(windows.tokens)
    print("| format | bytes a token | written, M tokens/s | read, M tokens/s | read, MB/s of ids |")
    print("|---|---|---|---|---|")
    for form in ("parquet", "mds", "webdataset", "numpy", "megatron"):
        written = best(lambda form=form: write(form, shards, folder))  # type: ignore[misc]
        stored = sum(path.stat().st_size for path in (folder / form).rglob("*") if path.is_file())
        taken = best(lambda form=form: read(form, windows.size, folder))  # type: ignore[misc]
        print(
            f"| {form} | {stored / tokens:.2f} | {tokens / written / 1e6:,.0f} | {tokens / taken / 1e6:,.0f} "
            f"| {plain / taken / 1e6:,.0f} |"
        )
    sums = best(lambda: conservation.window_sums(windows))
    print(f"\nconservation sum: {tokens / sums / 1e6:,.0f} M tokens/s")
    some, mixture = windows.slice(0, 200), Mixture.above(VOCABULARY)
    corrupted = denoise(some, mixture)
    apart = best(lambda: denoise(some, mixture))
    back = best(lambda: [restore(one, mixture) for one in corrupted])
    n = len(some.tokens) / 1e6
    print(f"mixture of denoisers: {n / apart:,.1f} M tokens/s, its inverse {n / back:,.1f}\n")


def denoise(windows: ShardWindows, mixture: Mixture) -> list[np.ndarray]:
    """Each window corrupted."""
    found = []
    for w in range(len(windows)):
        one = windows.slice(w, w + 1)
        found.append(corrupt(one.tokens, one.lengths, window_key(0, 0, 0, w), mixture).tokens)
    return found


def readers(shards: list[ShardWindows], folder: Path) -> None:
    """The second table: this script's companion in the consumers' environment."""
    if not PYTHON.exists():
        print("readers under PyTorch: `make consumers` first")
        return
    files = [{"name": f"parquet/shard-{s:05d}.parquet", "windows": len(part)} for s, part in enumerate(shards)]
    tokenizer = {"vocab_size": VOCABULARY, "eos_id": 0}
    (folder / "index.json").write_text(json.dumps({"files": files, "window": shards[0].size, "tokenizer": tokenizer}))
    paths = os.pathsep.join([str(ROOT / "tests" / "consumers" / "torchvision_stub"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    print("| reader | format | M tokens/s, no workers | two workers | most memory of a process, MB |")
    print("|---|---|---|---|---|")
    for name in ("curate", "curate, denoised", "streaming", "datasets", "olmo_core", "webdataset"):
        found = []
        for workers in ("0", "2"):
            command = [str(PYTHON), str(ROOT / "benchmarks" / "shards_readers.py"), name, str(folder), workers]
            run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            if run.returncode:
                raise SystemExit(run.stderr)
            found.append(json.loads(run.stdout.splitlines()[-1]))
        alone, two = found
        memory = max(one["memory"] for one in found)
        print(
            f"| {name} | {alone['format']} | {alone['speed'] / 1e6:,.1f} | {two['speed'] / 1e6:,.1f} | {memory:,.0f} |",
            flush=True,
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16_000_000)
    parser.add_argument("--window", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    windows = corpus(chosen.tokens, chosen.window, chosen.seed)
    shards = [windows.slice(start, start + SHARD_WINDOWS) for start in range(0, len(windows), SHARD_WINDOWS)]
    print(f"{len(windows.tokens):,} tokens, {len(windows):,} windows of {chosen.window:,}, {len(shards)} shards\n")
    with tempfile.TemporaryDirectory(prefix="curate-shards-") as folder:
        formats(windows, shards, Path(folder))
        readers(shards, Path(folder))


if __name__ == "__main__":
    main()
