"""Packing: speed against best-fit-decreasing in plain Python and in TRL, and what a lookahead costs and buys.

    python benchmarks/packing.py [--items N] [--window L] [--mean TOKENS] [--seed S] [--trl FOLDER]

Lengths are log-normal (sigma 1) about the given mean, capped at four windows, so that some items must be cut. The lookahead
table packs items that lie on a path of drifting vectors: near on the path is like, far is not. Times are the best of
three, after a first call that compiles. ``--trl`` names a folder that ``pip install --no-deps --target FOLDER trl`` has
filled: TRL's packer then packs the same lengths in ``.venv-consumers`` (``make consumers``). It also puts the tokens in
their order, so this is timed here, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.packing.measures import Pieces, count_windows, split, window_measures
from curate.packing.packers import PACKERS
from curate.packing.plan import pack
from curate.packing.refusals import count_alike, similarity
from curate.stages.shards.routing import copy_spans

ROOT = Path(__file__).resolve().parent.parent
CONSUMERS = ROOT / ".venv-consumers" / "bin" / "python"

DIMENSIONS = 64
DRIFT = 0.97
"""Cosine of neighbours on the path, so that of items k apart is DRIFT ** k."""


def best_fit_in_python(lengths: NDArray[np.int64], window: int) -> int:
    """Windows of best-fit-decreasing with a sorted list of rooms, as one writes it without a compiler."""
    rooms: list[int] = []
    opened = 0
    for size in sorted(split(lengths, window)[2].tolist(), reverse=True):
        at = bisect_left(rooms, size)
        if at == len(rooms):
            opened += 1
            room = window
        else:
            room = rooms.pop(at)
        if room > size:
            insort(rooms, room - size)
    return opened


def lengths_of(items: int, mean: float, window: int, seed: int) -> NDArray[np.int64]:
    """int64[items] log-normal lengths, at least 1, at most four windows."""
    drawn = np.random.default_rng(seed).lognormal(np.log(mean) - 0.5, 1.0, items).astype(np.int64)
    return np.clip(drawn, 1, 4 * window)


def drifting_vectors(items: int, seed: int) -> NDArray[np.int8]:
    """int8[items, DIMENSIONS]: a walk on the sphere."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(items, DIMENSIONS)) * np.sqrt(1 - DRIFT**2)
    walk = np.empty((items, DIMENSIONS))
    walk[0] = rng.normal(size=DIMENSIONS)
    for i in range(1, items):
        walk[i] = DRIFT * walk[i - 1] + steps[i]
    return np.clip(np.rint(walk * 40), -127, 127).astype(np.int8)


def in_window(pieces: Pieces, vectors: NDArray[np.int8]) -> float:
    """Mean cosine over all pairs of pieces that share a window."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    sums = np.zeros((pieces.n_windows, vectors.shape[1]))
    np.add.at(sums, pieces.window, unit[pieces.item])
    count = np.bincount(pieces.window, minlength=pieces.n_windows)
    return float(((sums**2).sum() - count.sum()) / (count * (count - 1)).sum())


def seconds(call: Callable[[], object]) -> float:
    """Best of three."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table."""
    names = list(head)
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")
    print()


def speeds(lengths: NDArray[np.int64], window: int) -> None:
    """Items planned a second on one core, and what the plans cost."""
    rows = []
    for method in PACKERS:
        pieces = pack(method, lengths, window)
        measures = window_measures(count_windows(pieces, lengths, window), window)
        taken = seconds(lambda method=method: pack(method, lengths, window))  # type: ignore[misc]
        names = (
            "padding",
            "cut_avoidably",
            "cut_avoidably_tokens",
            "documents_per_window",
            "in_document_context",
            "cross_document",
        )
        rows.append(
            [
                method,
                f"{len(lengths) / taken / 1e6:.2f} M",
                f"{pieces.n_windows:,}",
                # of windows of one size: those of buckets are as long as their piece
                *("–" if method == "buckets" else f"{measures[name]:g}" for name in names),
            ]
        )
    part = lengths[: min(len(lengths), 100_000)]
    taken = seconds(lambda: best_fit_in_python(part, window))
    ours, theirs = pack("best_fit", part, window).n_windows, best_fit_in_python(part, window)
    table(
        (
            "method",
            "items/s",
            "windows",
            "padding",
            "cut avoidably",
            "tokens in those",
            "docs/window",
            "context",
            "cross-document",
        ),
        rows,
    )
    speed = f"{len(part) / taken / 1e6:.2f} M items/s"
    print(f"best-fit-decreasing in plain Python, {len(part):,} items: {speed}, {theirs:,} windows (ours {ours:,})\n")


def against_trl(lengths: NDArray[np.int64], window: int, folder: Path) -> None:
    """Planning and putting tokens in their order, by ``best_fit`` and by TRL."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    flat = np.zeros(int(offsets[-1]), np.uint16)

    def ours() -> Pieces:
        pieces = pack("best_fit", lengths, window)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(pieces.length)])
        copy_spans(
            flat, offsets[pieces.item] + pieces.start, pieces.length, ends[:-1], np.empty(int(ends[-1]), np.uint16)
        )
        return pieces

    windows, taken = ours().n_windows, seconds(ours)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, lengths)
        command = [str(CONSUMERS), str(ROOT / "benchmarks" / "peers" / "pack_trl.py"), file.name, str(window)]
        run = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
        )
    found, theirs = run.stdout.split()
    n = len(lengths)
    print(f"with the tokens put in their order, {n:,} items: best_fit {n / taken:,.0f} items/s, {windows:,} windows;")
    print(f"TRL {n / float(theirs):,.0f} items/s, {int(found):,} windows\n")


def lookaheads(items: int, mean: float, window: int, seed: int) -> None:
    """Padding and similarity by lookahead, and with a refusal of like items."""
    lengths, vectors = np.minimum(lengths_of(items, mean, window, seed), window), drifting_vectors(items, seed)
    strict = in_window(pack("related", lengths, window, 1), vectors)
    rows = []
    for lookahead in (1, 2, 4, 8, 16, 32, 64, 128, 512):
        pieces = pack("related", lengths, window, lookahead)
        rows.append(row(str(lookahead), pieces, lengths, vectors, window, strict))
    rows.append(row("best_fit", pack("best_fit", lengths, window), lengths, vectors, window, strict))
    table(("lookahead", "windows", "padding", "in-window cosine", "of lookahead 1"), rows)
    limit = float(DRIFT**2)
    near = similarity(vectors, limit)
    free = pack("related", lengths, window)
    taken = seconds(lambda: pack("related", lengths, window, vectors=vectors, max_similarity=limit))
    held = pack("related", lengths, window, vectors=vectors, max_similarity=limit)
    print(
        f"items of cosine >= {limit:.3f} refused, lookahead 16: {count_alike(free, near):,} such pairs share a window -> "
        f"{count_alike(held, near)}, windows {free.n_windows:,} -> {held.n_windows:,}, {items / taken / 1e6:.2f} M items/s"
    )


def row(
    name: str, pieces: Pieces, lengths: NDArray[np.int64], vectors: NDArray[np.int8], window: int, strict: float
) -> list[str]:
    """One line of the lookahead table."""
    padding = window_measures(count_windows(pieces, lengths, window), window)["padding"]
    coherence = in_window(pieces, vectors)
    return [name, f"{pieces.n_windows:,}", f"{padding:.4f}", f"{coherence:.3f}", f"{coherence / strict:.0%}"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--window", type=int, default=8192)
    parser.add_argument("--mean", type=float, default=892)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trl", type=Path)
    chosen = parser.parse_args()
    lengths = lengths_of(chosen.items, chosen.mean, chosen.window, chosen.seed)
    speeds(lengths, chosen.window)
    if chosen.trl:
        against_trl(lengths[:100_000], chosen.window, chosen.trl)
    lookaheads(min(chosen.items, 50_000), chosen.mean, chosen.window, chosen.seed)


if __name__ == "__main__":
    main()
