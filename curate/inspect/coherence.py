"""Whether documents that share a window belong together, judged by measures that packing did not use.

A sample of windows (by hash) is compared with windows of the same pieces arranged by hash: compression and burstiness of
their tokens, a label of the records, and the vectors of another embedding model.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.catalog import KIND_DOCUMENT
from curate.base.columns import flat_tokens, vector_matrix
from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.inspect.reader import RunReader
from curate.inspect.windows import Piece, Window, windows_of
from curate.relate.measures import same_label_in_window, window_measures
from curate.shards.sampled import MEASURES, arranged_by_hash, mean_over_windows

FILES = 8
"""Shards that are read at most."""

LABEL_WINDOWS = 400
"""Windows whose labels are compared by ``curate stats --label``."""


def coherence(run: RunReader, windows: int = 100, label: str | None = None, judge: str | None = None) -> dict[str, Any]:
    """Measures of a sample of windows, each beside that of the same pieces arranged by hash.

    Args:
        run: with windows.
        windows: windows of the sample, at most; those with two documents or more are drawn.
        label: a field of the records' metadata, as ``meta.topic``.
        judge: an embedding model: a folder, or an installed package that carries one.

    Returns:
        ``windows``, ``documents``, and ``measures``: name → {``windows``, ``random``}.

    Raises:
        RequestError: the run has no windows, or none with two documents; the label or the model does not exist.
    """
    drawn = _draw(run, windows)
    measures: dict[str, tuple[float, float]] = {}
    vectors = vector_matrix(run.rows("embeddings", drawn.ids.tolist(), ["vector"])["vector"])
    measures["similarity"] = _similar(vectors[drawn.row], drawn)
    if judge is not None:
        measures["similarity_by_judge"] = _similar(_judged(run, judge, drawn.ids)[drawn.row], drawn)
    spans = _spans(run, drawn)
    for name, measure in MEASURES.items():
        measures[name] = (
            mean_over_windows(spans, drawn.window, measure),
            mean_over_windows(spans, drawn.other, measure),
        )
    if label is not None:
        measures["same_label"] = _same_label(run, label, drawn)
    return {
        "windows": drawn.windows,
        "documents": len(drawn.ids),
        "measures": {
            name: {"windows": round(own, 4), "random": round(random, 4)} for name, (own, random) in measures.items()
        },
    }


def label_agreement(run: RunReader, label: str, windows: int = LABEL_WINDOWS) -> dict[str, float]:
    """``same_label`` and ``same_label_random``: the measure of :func:`coherence` that needs neither tokens nor vectors.

    Raises:
        RequestError: as :func:`coherence`.
    """
    own, random = _same_label(run, label, _draw(run, windows))
    return {"same_label": round(own, 4), "same_label_random": round(random, 4)}


class _Drawn(NamedTuple):
    """A sample of windows with P pieces of N documents.

    Attributes:
        windows: number of windows.
        pieces: P pieces.
        window: int64[P], the window of each piece.
        other: int64[P], the window of each piece in the arrangement by hash.
        ids: uint64[N], doc_ids, ascending.
        row: int64[P], row in ``ids`` of each piece's document.
    """

    windows: int
    pieces: list[Piece]
    window: NDArray[np.int64]
    other: NDArray[np.int64]
    ids: NDArray[np.uint64]
    row: NDArray[np.int64]


def _draw(run: RunReader, count: int) -> _Drawn:
    chosen = _sample(run, count)
    if not chosen:
        raise RequestError(f"{run.url} has no window with two documents; there is nothing to compare")
    pairs = [(w, piece) for w, one in enumerate(chosen) for piece in _documents(one)]
    window = np.array([w for w, _ in pairs], np.int64)
    pieces = [piece for _, piece in pairs]
    keys = np.array([piece.doc_id ^ piece.start << 1 ^ piece.copy << 40 for piece in pieces], np.uint64)
    ids, row = np.unique(np.array([piece.doc_id for piece in pieces], np.uint64), return_inverse=True)
    return _Drawn(len(chosen), pieces, window, arranged_by_hash(window, keys, run.recipe.seed), ids, row)


def _documents(window: Window) -> list[Piece]:
    return [piece for piece in window.pieces if piece.kind == KIND_DOCUMENT]


def _sample(run: RunReader, count: int) -> list[Window]:
    """At most ``count`` windows with two documents, always the same ones."""
    files = run.parquet_files("windows")
    order = np.argsort(document_hash(run.recipe.seed, "shards", np.arange(len(files), dtype=np.uint64)), kind="stable")
    found: list[Window] = []
    for at in sorted(order[:FILES].tolist()):
        found += [one for one in windows_of(run.read(files[at])) if len(set(one.doc_ids)) > 1]
    keys = np.array([one.set << 52 | one.shard << 26 | one.window for one in found], np.uint64)
    drawn = np.argsort(document_hash(run.recipe.seed, "windows", keys), kind="stable")[:count]
    return [found[i] for i in sorted(drawn.tolist())]


def _similar(vectors: NDArray[np.int8], drawn: _Drawn) -> tuple[float, float]:
    nobody = np.zeros((len(vectors), 0), np.int64)
    own, random = (window_measures(window, vectors, nobody, 2.0).pairs for window in (drawn.window, drawn.other))
    return own, random


def _same_label(run: RunReader, label: str, drawn: _Drawn) -> tuple[float, float]:
    labels = _labels(run, label, drawn.ids)[drawn.row]
    return same_label_in_window(drawn.window, labels), same_label_in_window(drawn.other, labels)


def _spans(run: RunReader, drawn: _Drawn) -> list[NDArray[np.uint32]]:
    """The tokens of every piece."""
    flat, offsets = flat_tokens(run.rows("tokens", drawn.ids.tolist(), ["token_ids"]))
    return [
        flat[start + piece.start : start + piece.start + piece.length].astype(np.uint32)
        for start, piece in zip(offsets[drawn.row].tolist(), drawn.pieces, strict=True)
    ]


def _judged(run: RunReader, judge: str, ids: NDArray[np.uint64]) -> NDArray[np.int8]:
    """int8[N, D]: vectors of documents, as edited, by another model, less their mean."""
    from curate.relate.embedders.model import ModelEmbedder, find_model
    from curate.relate.encoders.quantised import mean_direction, quantise_directions

    rows = ModelEmbedder(find_model(judge)).encode([run.text(int(one)).edited for one in ids])
    return quantise_directions(rows, mean_direction(rows))[0]


def _labels(run: RunReader, label: str, ids: NDArray[np.uint64]) -> NDArray[np.str_]:
    """The label of every document, as text; empty where a record has none."""
    name = label.removeprefix("meta.")
    metas = run.rows("documents", ids.tolist(), ["meta"])["meta"]
    values = [json.loads(one).get(name) if one else None for one in metas.to_pylist()]
    if all(value is None for value in values):
        raise RequestError(f"no document of the sample has a field {name!r} in its metadata; name one as meta.FIELD")
    return np.array(["" if value is None else str(value) for value in values])
