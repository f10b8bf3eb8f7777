"""What a packing costs and what a model sees in it: counts that add up over regions, and the ratios made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from curate.packing.pieces import Pieces


@dataclass(frozen=True, slots=True)
class PackingCounts:
    """Additive counts over windows of one length; all ratios are functions of them.

    Attributes:
        window: tokens of a window, L.
        windows: windows.
        tokens: tokens in them.
        items: items with at least one token.
        pieces: pieces; a window holds no two of one item.
        forced_cuts: cuts that no packing avoids: ⌈length / L⌉ − 1 of an item.
        avoidable_cuts: the other cuts.
        avoidably_cut_items: items of at most L tokens that were cut.
        avoidably_cut_tokens: tokens of those.
        pairs: (query, earlier key) pairs of tokens in one window.
        pairs_in_document: those of them inside one piece.
    """

    window: int
    windows: int = 0
    tokens: int = 0
    items: int = 0
    pieces: int = 0
    forced_cuts: int = 0
    avoidable_cuts: int = 0
    avoidably_cut_items: int = 0
    avoidably_cut_tokens: int = 0
    pairs: int = 0
    pairs_in_document: int = 0

    def __add__(self, other: PackingCounts) -> PackingCounts:
        if self.window != other.window:
            raise ValueError(f"windows of {self.window} and of {other.window} tokens have no common counts")
        summed = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "window"}
        return PackingCounts(self.window, **summed)

    def ratios(self) -> dict[str, float]:
        """Measures by name, rounded to 1e-4 (facts of the literature: "Fewer Truncations", Dataset Decomposition).

        padding: share of token places left empty. compactness: ⌈tokens / L⌉ / windows. documents_per_window: pieces of
        a window. avoidably_cut: share of items that fit a window and were cut all the same; avoidably_cut_tokens: their
        share of tokens. in_document_context: earlier tokens of its own document that a token sees, on average.
        cross_document: share of the earlier tokens seen that are of another document, without masking.
        """
        return {
            "padding": _ratio(self.windows * self.window - self.tokens, self.windows * self.window),
            "compactness": _ratio(-(-self.tokens // self.window), self.windows),
            "documents_per_window": _ratio(self.pieces, self.windows),
            "avoidably_cut": _ratio(self.avoidably_cut_items, self.items),
            "avoidably_cut_tokens": _ratio(self.avoidably_cut_tokens, self.tokens),
            "in_document_context": _ratio(self.pairs_in_document, self.tokens),
            "cross_document": _ratio(self.pairs - self.pairs_in_document, self.pairs),
        }

    def as_dict(self) -> dict[str, int]:
        """Counts by name."""
        return asdict(self)


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def measure(pieces: Pieces, lengths: NDArray[np.int64], window: int) -> PackingCounts:
    """Counts of a packing of items with ``lengths`` int64[n] into windows of ``window`` tokens."""
    lengths = np.asarray(lengths, np.int64)
    n_pieces = np.bincount(pieces.item, minlength=len(lengths)).astype(np.int64)
    filled = np.zeros(pieces.n_windows, np.int64)
    np.add.at(filled, pieces.window, pieces.length)
    present = lengths > 0
    forced = np.where(present, (lengths + (window - 1)) // window - 1, 0)
    avoidable = np.where(present, n_pieces - 1 - forced, 0)
    cut = (avoidable > 0) & (lengths <= window)
    return PackingCounts(
        window=window,
        windows=pieces.n_windows,
        tokens=int(filled.sum()),
        items=int(present.sum()),
        pieces=len(pieces.item),
        forced_cuts=int(forced.sum()),
        avoidable_cuts=int(avoidable.sum()),
        avoidably_cut_items=int(cut.sum()),
        avoidably_cut_tokens=int(lengths[cut].sum()),
        pairs=int((filled * (filled - 1) // 2).sum()),
        pairs_in_document=int((pieces.length * (pieces.length - 1) // 2).sum()),
    )
