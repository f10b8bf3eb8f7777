"""What a packing costs and what a model sees in it: counts that add up over regions, and the measures made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from curate.packing.pieces import Pieces


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
    """Measures by name from summed counts, rounded to 1e-4; one whose counts are missing is left out.

    Returns:
        padding: share of token places left empty. compactness: ⌈tokens / L⌉ / windows. documents_per_window: pieces of
        a window. cut, cut_avoidably: share of items cut, and of items cut though they fit a window;
        cut_avoidably_tokens: tokens in those. in_document_context: earlier tokens of its own document that a token
        sees, on average (Dataset Decomposition, arXiv 2405.13226). cross_document: share of the earlier tokens seen
        that are of another document, without masking.
    """
    places = counts["windows"] * window
    tokens = places - counts["padding"]
    measures = {
        "padding": _ratio(counts["padding"], places),
        "compactness": _ratio(-(-tokens // window), counts["windows"]),
        "documents_per_window": _ratio(counts["pieces"], counts["windows"]),
        "cut": _ratio(counts["cut"], counts["items"]),
        "cut_avoidably": _ratio(counts["cut_avoidably"], counts["items"]),
        "in_document_context": _ratio(counts["in_document_context"], tokens),
    }
    if "cut_avoidably_tokens" in counts:
        measures["cut_avoidably_tokens"] = _ratio(counts["cut_avoidably_tokens"], tokens)
    if "context" in counts:
        measures["cross_document"] = _ratio(counts["context"] - counts["in_document_context"], counts["context"])
    return measures


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
