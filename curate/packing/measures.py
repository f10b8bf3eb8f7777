"""What a packing costs and what a model sees in it: counts and means that add up over regions, and measures made of them.

Legend: n items on the path, m pieces, D dimensions, K neighbours, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from curate.base.catalog import KIND_BEGIN, KIND_END, KIND_SEPARATOR
from curate.base.hashing import document_hash
from curate.relate.measures import mean, neighbors_inside, pair_mean
from curate.relate.similarity import cosine, pair_cosine

VENDI_WINDOWS = 100
"""Windows of a region whose diversity is measured: as far apart as can be."""

VENDI_MOST = 256
"""Windows of more documents are left out of that."""

_MEASURES = {  # measure: (key of a record, what it is a mean over)
    "in_window": ("pairs", "n_pairs"),
    "in_window_by_tokens": ("pairs_by_tokens", "n_pairs"),
    "in_window_random": ("pairs_random", "n_pairs"),
    "in_window_ceiling": ("nearest", "n_pairs"),
    "in_window_adjacent": ("adjacent", "n_steps"),
    "neighbors_in_window": ("recall", "n_items"),
    "with_neighbor_in_window": ("with_neighbor", "n_items"),
    "between_windows": ("between", "n_between"),
    "vendi": ("vendi", "n_vendi"),
}


def count_windows(pieces: Pieces, lengths: NDArray[np.int64], window: int) -> dict[str, int]:
    """Additive counts of a packing of items with ``lengths`` int64[n] into windows of ``window`` = L tokens.

    Returns:
        windows; tokens; padding (empty places); items (with at least one token); pieces; cut (items in more than one
        piece); cut_avoidably (those of at most L tokens) and cut_avoidably_tokens (their tokens); forced_cuts (cuts no
        packing avoids: ⌈length / L⌉ − 1 of an item) and avoidable_cuts (all others); context (pairs of a token and an
        earlier one in the window) and in_document_context (those of one document).
    """
    lengths = np.asarray(lengths, np.int64)
    n_pieces = np.bincount(pieces.item, minlength=len(lengths)).astype(np.int64)
    filled = np.zeros(pieces.n_windows, np.int64)
    np.add.at(filled, pieces.window, pieces.length)
    forced = np.maximum((lengths + (window - 1)) // window - 1, 0)
    avoidable = np.maximum(n_pieces - 1, 0) - forced
    cut_avoidably = (n_pieces > 1) & (lengths <= window)
    return {
        "windows": pieces.n_windows,
        "tokens": int(filled.sum()),
        "padding": pieces.n_windows * window - int(filled.sum()),
        "items": int((lengths > 0).sum()),
        "pieces": len(pieces.item),
        "cut": int((n_pieces > 1).sum()),
        "cut_avoidably": int(cut_avoidably.sum()),
        "cut_avoidably_tokens": int(lengths[cut_avoidably].sum()),
        "forced_cuts": int(forced.sum()),
        "avoidable_cuts": int(avoidable.sum()),
        "context": int((filled * (filled - 1) // 2).sum()),
        "in_document_context": int((pieces.length * (pieces.length - 1) // 2).sum()),
    }


def window_measures(counts: Mapping[str, int], window: int) -> dict[str, float]:
    """Measures by name from summed counts, rounded to 1e-4.

    Returns:
        padding: share of token places left empty. compactness: ⌈tokens / L⌉ / windows. documents_per_window: pieces of
        a window. cut, cut_avoidably: share of items cut, and of items cut though they fit a window;
        cut_avoidably_tokens: tokens in those. in_document_context: earlier tokens of its own document that a token
        sees, on average (Dataset Decomposition, arXiv 2405.13226). cross_document: share of the earlier tokens seen
        that are of another document, without masking.
    """
    places = counts["windows"] * window
    tokens = places - counts["padding"]
    return {
        "padding": _ratio(counts["padding"], places),
        "compactness": _ratio(-(-tokens // window), counts["windows"]),
        "documents_per_window": _ratio(counts["pieces"], counts["windows"]),
        "cut": _ratio(counts["cut"], counts["items"]),
        "cut_avoidably": _ratio(counts["cut_avoidably"], counts["items"]),
        "in_document_context": _ratio(counts["in_document_context"], tokens),
        "cut_avoidably_tokens": _ratio(counts["cut_avoidably_tokens"], tokens),
        "cross_document": _ratio(counts["context"] - counts["in_document_context"], counts["context"]),
    }


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def likeness(
    pieces: Pieces,
    vectors: NDArray[np.int8],
    lengths: NDArray[np.int64],
    neighbors: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> dict[str, float]:
    """Means over a region's windows, each with the number of things that it is a mean of.

    Args:
        pieces: of the windows; a cut item counts in its last window.
        vectors: int8[n, D].
        lengths: int64[n] tokens.
        neighbors: int64[n, K], -1 padded.
        keys: uint64[W], by which the windows are shuffled.

    Returns:
        pairs, pairs_by_tokens, pairs_random: mean cosine over the pairs of a window, weighted with both lengths, and of the
        same windows filled at random; nearest: mean cosine to as many nearest documents as share a window (no windows can
        be more alike); adjacent: of pieces that follow each other in a window; recall: share of the neighbours that are in
        the document's window; with_neighbor: share of the documents with one; between: cosine from the last piece of a
        window to the first of the next one after the shuffle; vendi: Vendi score (Friedman and Dieng 2023) over the number
        of documents, 1 when nothing in a window is alike, near 0 when everything is the same.
    """
    window = np.full(len(vectors), -1, np.int64)
    window[pieces.item] = pieces.window
    placed = np.flatnonzero(window >= 0)
    mixed = placed[np.argsort(document_hash(0, "windows", placed.astype(np.uint64)), kind="stable")]
    shuffled = np.full(len(vectors), -1, np.int64)
    shuffled[mixed] = window[placed]
    recall, with_neighbor = neighbors_inside(window, neighbors)
    sizes = np.bincount(window[placed])
    n_pairs = int((sizes * (sizes - 1)).sum())
    inside = pieces.window[1:] == pieces.window[:-1]
    steps = pair_cosine(vectors, pieces.item[:-1][inside], pieces.item[1:][inside])
    first, last = pieces.starts[:-1], pieces.starts[1:] - 1
    order = np.argsort(keys, kind="stable")
    over = pair_cosine(vectors, pieces.item[last[order[:-1]]], pieces.item[first[order[1:]]])
    diverse = vendi(pieces, vectors)
    return {
        "n_pairs": n_pairs,
        "pairs": pair_mean(window, vectors),
        "pairs_by_tokens": pair_mean(window, vectors, lengths),
        "pairs_random": pair_mean(shuffled, vectors),
        "nearest": _nearest(vectors, neighbors, n_pairs / max(1, len(placed))),
        "n_steps": len(steps),
        "adjacent": mean(steps),
        "n_items": len(placed),
        "recall": recall,
        "with_neighbor": with_neighbor,
        "n_between": len(over),
        "between": mean(over),
        "n_vendi": len(diverse),
        "vendi": mean(diverse),
    }


def vendi(pieces: Pieces, vectors: NDArray[np.int8]) -> NDArray[np.float64]:
    """float64[at most 100]: Vendi score over number of documents of some windows with two or more."""
    starts = pieces.starts
    sizes = np.diff(starts)
    fit = np.flatnonzero((sizes >= 2) & (sizes <= VENDI_MOST))
    found = []
    for w in fit[:: max(1, len(fit) // VENDI_WINDOWS)][:VENDI_WINDOWS]:
        inside = vectors[pieces.item[starts[w] : starts[w + 1]]]
        table = cosine(inside, inside)
        np.fill_diagonal(table, 1.0)
        values = np.linalg.eigvalsh(table / len(inside))
        values = values[values > 1e-12]
        found.append(float(np.exp(-(values * np.log(values)).sum())) / len(inside))
    return np.array(found)


def summarise(records: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over regions, each weighted with what it is a mean of, rounded to 1e-3 (in_window…: 1e-4)."""
    found = {}
    for name, (key, count) in _MEASURES.items():
        total = sum(record[count] for record in records)
        whole = sum(record[count] * record[key] for record in records)
        found[name] = round(whole / max(total, 1), 4 if name.startswith("in_window") else 3)
    return found


def _nearest(vectors: NDArray[np.int8], neighbors: NDArray[np.int64], others: float) -> float:
    """Mean cosine to the nearest ``others`` documents, as far as the lists go."""
    k = min(neighbors.shape[1], max(1, round(others)))
    at, which = np.nonzero(neighbors[:, :k] >= 0)
    return mean(pair_cosine(vectors, at, neighbors[at, which]))


Int64s = NDArray[np.int64]


class Pieces(NamedTuple):
    """int64[m] each, by window; inside a window in the order in which the pieces follow each other.

    Planners give them sorted by (window, item, start); :func:`curate.packing.inside.arrange` reorders them.
    """

    window: Int64s
    item: Int64s
    start: Int64s
    length: Int64s

    @property
    def n_windows(self) -> int:
        """Number of windows; they are numbered 0 … W−1 without a gap."""
        return int(self.window[-1]) + 1 if len(self.window) else 0

    @property
    def starts(self) -> Int64s:
        """int64[W+1]: window w holds pieces ``starts[w]`` … ``starts[w + 1]`` − 1."""
        return np.searchsorted(self.window, np.arange(self.n_windows + 1))


@njit(nogil=True, cache=True)
def _split(lengths: Int64s, window: int, item: Int64s, start: Int64s, length: Int64s) -> None:
    j = 0
    for i in range(lengths.shape[0]):
        at = 0
        while at < lengths[i]:
            item[j] = i
            start[j] = at
            length[j] = min(window, lengths[i] - at)
            at += length[j]
            j += 1


def split(lengths: Int64s, window: int) -> tuple[Int64s, Int64s, Int64s]:
    """(item, start, length) int64[m], by (item, start): items cut into L-long pieces and a remainder; none if empty."""
    m = int(((lengths + (window - 1)) // window).sum())
    item, start, length = np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64)
    _split(lengths, window, item, start, length)
    return item, start, length


@njit(nogil=True, cache=True)
def _number(window_of: Int64s, n_windows: int, number: Int64s, order: Int64s) -> None:
    """Number windows by first appearance, then sort the pieces by that number, stably."""
    renamed = np.full(n_windows, -1, np.int64)
    counts = np.zeros(n_windows + 1, np.int64)
    seen = 0
    for j in range(window_of.shape[0]):
        w = window_of[j]
        if renamed[w] < 0:
            renamed[w] = seen
            seen += 1
        number[j] = renamed[w]
        counts[renamed[w] + 1] += 1
    for w in range(n_windows):
        counts[w + 1] += counts[w]
    for j in range(window_of.shape[0]):
        order[counts[number[j]]] = j
        counts[number[j]] += 1


def canonical(window_of: Int64s, n_windows: int, item: Int64s, start: Int64s, length: Int64s) -> Pieces:
    """Pieces from pieces in (item, start) order and the window of each.

    Windows are numbered by their smallest (item, start): the numbering is a function of what shares a window alone, not
    of the way a planner found it, and it follows the path. ``n_windows`` bounds the ids in ``window_of``; ids that
    hold nothing vanish.
    """
    number, order = np.empty(len(item), np.int64), np.empty(len(item), np.int64)
    _number(window_of, n_windows, number, order)
    return Pieces(number[order], item[order], start[order], length[order])


class Control(NamedTuple):
    """Numbers of control tokens: before a document, behind it, between two that share a window."""

    begin: int = 0
    end: int = 0
    between: int = 0

    def planned(self, n_tokens: Int64s) -> Int64s:
        """int64[n]: what items of ``n_tokens`` take in windows; an empty one takes nothing."""
        return np.where(n_tokens > 0, n_tokens + (self.begin + self.end), 0)


class Rows(NamedTuple):
    """Rows of the plan, by (window, place inside): ``piece`` int64[R] indexes the pieces that they are of or follow.

    ``kind`` uint8[R]; ``start`` and ``length`` int64[R] are about the tokens of the text alone.
    """

    piece: Int64s
    kind: NDArray[np.uint8]
    start: Int64s
    length: Int64s


def plan_rows(pieces: Pieces, n_tokens: Int64s, text_kind: NDArray[np.uint8], control: Control) -> Rows:
    """The rows of the pieces of a plan, control tokens apart from the text.

    Args:
        pieces: of items that are ``control.planned(n_tokens)`` long, each with at most one token of either kind.
        n_tokens: int64[n], tokens of each item's text.
        text_kind: uint8[n], the kind of each item's text.
    """
    of, stop = n_tokens[pieces.item], pieces.start + pieces.length
    start = np.maximum(pieces.start - control.begin, 0)
    text = np.minimum(stop - control.begin, of) - start
    between = np.zeros(len(of), np.bool_)
    between[:-1] = (pieces.window[1:] == pieces.window[:-1]) & (control.between > 0)
    parts = (pieces.start < control.begin, text > 0, stop > of + control.begin, between)
    piece = np.concatenate([np.flatnonzero(some) for some in parts])
    part = np.repeat(np.arange(4), [int(some.sum()) for some in parts])
    order = np.lexsort((part, piece))
    piece, part = piece[order], part[order]
    kind = np.array([KIND_BEGIN, 0, KIND_END, KIND_SEPARATOR], np.uint8)[part]
    length = np.array([1, 0, 1, control.between])[part]
    kind[part == 1], length[part == 1] = text_kind[pieces.item[piece]][part == 1], text[piece][part == 1]
    starts = np.select([part == 1, part == 2], [start[piece], of[piece]], 0)
    return Rows(piece, kind, starts, length)
