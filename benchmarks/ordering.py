"""Orders and windows of labelled corpora: how related is what shares a window?

    python benchmarks/ordering.py FOLDER_OR_FILE … [--limit N] [--window L] [--curve] [--bound] [--judge MODEL]

For each corpus (see ordering_corpora.py) one table: every order, cut into windows by the same packer, and the windows of
`pack: related` with refinement. `--curve` adds what padding and cuts cost. `--bound` adds a bound that no path can pass
(Held and Karp, a minute for 2,000 documents). `--judge` names an embedding model (a folder or an installed package) that
judges by the beginning of each document, in columns of its own. Everything is done in one process, in one region.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray
from ordering_corpora import KNOWN, MAX_SIMILARITY, Corpus, prepare

from curate.packing.measures import Pieces, count_windows, vendi
from curate.packing.measures import window_measures as packing_measures
from curate.packing.plan import Refinement, pack
from curate.packing.refusals import count_alike, similarity
from curate.relate import measures
from curate.relate.orders import Region, find_path
from curate.relate.similarity import cosine
from curate.relate.super_cells import assign, fit

ORDERS = ("random", "source", "cluster", "keyword", "buffered", "buffered star", "icp_code", "icp", "related")
ALONG = ("order", "path/bound", "label, adjacent", "pairs", "× icp", "tokens", "× icp")
INSIDE = ("label, in window", "padding", "cut", "leaks")
CELL = 100
"""Documents of a cell for the order by cluster."""


class Windows:
    """Packs the paths of one corpus and measures the windows."""

    def __init__(self, corpus: Corpus, size: int) -> None:
        self.corpus, self.size = corpus, size
        self.ids = np.arange(len(corpus.texts), dtype=np.uint64)

    def path(self, order: str) -> NDArray[np.int64]:
        """The path of one order."""
        c = self.corpus
        cells = np.zeros(len(c.texts), np.int64)
        if order == "cluster":
            cells = assign(c.vectors, fit(c.vectors, max(2, len(c.texts) // CELL), 0, self.ids))[0]
        star = 16 if order == "buffered star" else 0
        region = Region(
            c.vectors, c.found, self.ids, sources=c.labels, clusters=cells, keywords=c.keywords,
            star=star, max_similarity=MAX_SIMILARITY,
        )  # fmt: skip
        return find_path(order.split()[0], region)

    def pack(self, path: NDArray[np.int64], lookahead: int, min_vendi: float = 0.0, **prices: float | None) -> Pieces:
        """Windows of the documents along ``path``; refined when prices are given."""
        place = np.full(len(path) + 1, -1, np.int64)
        place[path] = np.arange(len(path))
        how = Refinement(place[self.corpus.found.ids[path]], **prices) if prices else None  # type: ignore[arg-type]
        c = self.corpus
        return pack(
            "related", c.lengths[path], self.size, lookahead, vectors=c.vectors[path], max_similarity=MAX_SIMILARITY,
            refinement=how, min_vendi=min_vendi,
        )  # fmt: skip

    def window_of(self, path: NDArray[np.int64], pieces: Pieces) -> NDArray[np.int64]:
        """int64[n]: the window of each document; of a cut one, the last."""
        window = np.full(len(path), -1, np.int64)
        window[path[pieces.item]] = pieces.window
        return window

    def measure(self, path: NDArray[np.int64], pieces: Pieces) -> dict[str, float]:
        """Similarity, labels, padding and cuts of the windows."""
        c = self.corpus
        window = self.window_of(path, pieces)
        judged = {name: measures.pair_mean(window, vectors) for name, vectors in c.judges.items()}
        packed = packing_measures(count_windows(pieces, c.lengths[path], self.size), self.size)
        return {
            "pairs": measures.pair_mean(window, c.vectors),
            "tokens": measures.pair_mean(window, c.vectors, c.lengths),
            **judged,
            "label": measures.same_label_in_window(window, np.array(c.labels)),
            "padding": packed["padding"],
            "cut": packed["cut_avoidably"],
            "leaks": count_alike(pieces, similarity(c.vectors[path], MAX_SIMILARITY)),
            "members": packed["documents_per_window"],
        }


def print_table(head: tuple[str, ...], rows: list[list[str]]) -> None:
    """A Markdown table."""
    for line in [list(head), ["---"] * len(head), *rows]:
        print("| " + " | ".join(line) + " |")
    print()


def compare(corpus: Corpus, size: int, curve: bool, bound: bool) -> None:
    """Prints the tables of one corpus."""
    windows = Windows(corpus, size)
    began = time.perf_counter()
    paths = {order: windows.path(order) for order in ORDERS}
    spent = time.perf_counter() - began
    base = windows.measure(paths["icp"], windows.pack(paths["icp"], 16))
    nearest = float(corpus.found.similarity[:, : max(2, round(base["members"])) - 1].mean())
    print(
        f"\n### {corpus.name}\n\n{len(corpus.texts):,} documents, {len(set(corpus.labels))} labels, {corpus.removed:,} semantic "
        f"duplicates removed; {base['members']:.1f} documents a window of {size:,} tokens; mean similarity to so many nearest "
        f"documents {nearest:.3f}.\n"
    )
    rows, judges = [], list(corpus.judges)

    def add(name: str, path: NDArray[np.int64], pieces: Pieces, with_path: bool = True) -> None:
        counts = measures.path_counts(path, corpus.vectors, corpus.found.ids, corpus.found.similarity, MAX_SIMILARITY)
        steps, labels = measures.summarise([counts]), np.asarray(corpus.labels)[path]
        m = windows.measure(path, pieces)
        along = (f"{steps['path_share']:.3f}", f"{(labels[1:] == labels[:-1]).mean():.3f}")
        rows.append([
            name, *(along if with_path else ("", "")), f"{m['pairs']:.3f}", f"{m['pairs'] / base['pairs']:.2f}",
            f"{m['tokens']:.3f}", f"{m['tokens'] / base['tokens']:.2f}",
            *(said for name in judges for said in (f"{m[name]:.3f}", f"{m[name] / base[name]:.2f}")),
            f"{m['label']:.3f}", f"{m['padding']:.4f}", f"{m['cut']:.4f}", f"{m['leaks']:.0f}",
        ])  # fmt: skip

    for order in ORDERS:
        name = {"source": "source (by label)", "related": "related, path"}.get(order, order)
        add(name, paths[order], windows.pack(paths[order], 16))
    began = time.perf_counter()
    refined = windows.pack(paths["related"], 16, padding=3.0)
    taken = time.perf_counter() - began
    add("**related, windows**", paths["related"], refined, with_path=False)
    print_table((*ALONG, *(said for name in judges for said in (f"pairs, {name}", "× icp")), *INSIDE), rows)
    print(f"All paths {spent:.1f} s; windows filled and refined in {taken:.2f} s.\n")
    if bound:
        best = path_bound(corpus.vectors, corpus.found.similarity)
        given = 0.5 * np.maximum(corpus.found.similarity[:, :2], 0).sum()
        print(f"No path through these documents has more than {best / given:.4f} of the bound.\n")
    if curve:
        print_curve(windows, paths)
        print_floors(windows, paths["related"])


def path_bound(vectors: NDArray[np.int8], similarity: NDArray[np.float64], rounds: int = 1000) -> float:
    """A number at least as large as the sum of cosines along any path; O(N²) memory and time a round.

    Args:
        vectors: int8[N, D].
        similarity: float64[N, K ≥ 2] to each document's nearest, for the first prices.
        rounds: steps of descent.
    """
    table = cosine(vectors, vectors)
    price: NDArray[np.float64] = similarity[:, 1] / 2
    degree = np.zeros(len(vectors), np.int64)
    before: NDArray[np.float64] = np.zeros(len(vectors))
    best, step = np.inf, 0.05
    for _ in range(rounds):
        best = min(best, float(_heaviest(table, price, degree)))
        slope: NDArray[np.float64] = degree - 2.0
        price = price + step * (0.7 * slope + 0.3 * before)
        before, step = slope, step * 0.996
    return best


@njit(nogil=True, cache=True)
def _heaviest(table, price, degree):  # type: ignore[no-untyped-def]
    """Weight of the heaviest 1-tree under ``price`` plus the prices themselves; ``degree`` receives its degrees."""
    n = table.shape[0]
    reach, via, inside = np.full(n, -1e18), np.full(n, -1, np.int64), np.zeros(n, np.bool_)
    degree[:] = 0
    current, total = 0, 0.0
    inside[0] = True
    for _ in range(n - 1):
        following, most = -1, -1e18
        for j in range(n):
            if not inside[j]:
                weight = table[current, j] - price[current] - price[j]
                if weight > reach[j]:
                    reach[j], via[j] = weight, current
                if reach[j] > most:
                    following, most = j, reach[j]
        inside[following] = True
        total += most
        degree[following] += 1
        degree[via[following]] += 1
        current = following
    one, two = -1, -1  # where the added stop is tied
    for j in range(n):
        if one < 0 or price[j] < price[one]:
            one, two = j, one
        elif two < 0 or price[j] < price[two]:
            two = j
    for j in (one, two):
        if j >= 0:
            degree[j] += 1
            total -= price[j]
    return total + 2 * price.sum()


def print_floors(windows: Windows, path: NDArray[np.int64]) -> None:
    """What a floor on the diversity of a window costs (`pack.min_vendi`)."""
    rows, c = [], windows.corpus
    for floor in (0.0, 0.2, 0.3, 0.4, 0.5, 0.7):
        pieces = windows.pack(path, 16, floor, padding=3.0)
        m, found = windows.measure(path, pieces), vendi(pieces, c.vectors[path])
        rows.append(
            [f"{floor:g}", f"{found.min():.3f}", f"{found.mean():.3f}", f"{m['pairs']:.3f}", f"{m['padding']:.4f}"]
        )
    print_table(("floor", "least Vendi of 100 windows", "mean", "pairs", "padding"), rows)


def print_curve(windows: Windows, paths: dict[str, NDArray[np.int64]]) -> None:
    """Padding and cuts against similarity, for the paper's order and for ours."""
    rows = []
    for order, passes in (("icp", 0), ("related", 12)):
        for lookahead in (1, 16, 64):
            for padding, cuts in ((0.0, None), (3.0, None), (3.0, 1.0), (3.0, 0.3), (3.0, 0.1)):
                if passes == 0 and (cuts == 1.0 or (padding and cuts is None)):
                    continue
                pieces = windows.pack(paths[order], lookahead, padding=padding, cuts=cuts, passes=passes)
                m = windows.measure(paths[order], pieces)
                counted = count_windows(pieces, windows.corpus.lengths[paths[order]], windows.size)
                each = counted["avoidable_cuts"] / counted["items"]
                rows.append([
                    order + (", windows" if passes else ""), str(lookahead), f"{padding:g}", "off" if cuts is None else f"{cuts:g}",
                    f"{m['padding']:.4f}", f"{m['cut']:.4f}", f"{each:.4f}", f"{m['pairs']:.3f}", f"{m['tokens']:.3f}",
                ])  # fmt: skip
    c = windows.corpus
    path = paths["related"]
    pieces = pack("best_fit", c.lengths[path], windows.size, vectors=c.vectors[path], max_similarity=MAX_SIMILARITY)
    m = windows.measure(path, pieces)
    rows.append(
        ["best_fit", "", "", "", f"{m['padding']:.4f}", "0.0000", "0.0000", f"{m['pairs']:.3f}", f"{m['tokens']:.3f}"]
    )
    print_table(
        ("order", "lookahead", "`padding`", "`cuts`", "padding", "cut", "cuts a document", "pairs", "tokens"), rows
    )


def main() -> None:
    """Prints the tables of every corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+", type=Path, help="folder with known corpora, or files")
    parser.add_argument("--limit", type=int, help="documents of each corpus")
    parser.add_argument("--window", type=int, default=8192, help="tokens of a window")
    parser.add_argument("--curve", action="store_true", help="print what padding and cuts cost")
    parser.add_argument(
        "--bound", action="store_true", help="bound the best path of corpora of at most 4,000 documents"
    )
    parser.add_argument("--judge", help="embedding model that judges: a folder, or a package that carries one")
    chosen = parser.parse_args()
    for place in chosen.corpus:
        for file in [place / name for name in KNOWN] if place.is_dir() else [place]:
            if not file.exists():
                print(f"\n{file.name} is not in {place}: skipped\n")
                continue
            corpus = prepare(file, chosen.limit, chosen.judge)
            compare(corpus, chosen.window, chosen.curve, chosen.bound and len(corpus.texts) <= 4000)


if __name__ == "__main__":
    main()
