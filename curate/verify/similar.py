"""Near-duplicates in one window and windows less diverse than asked, counted exactly from the stored embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from curate.base.columns import vector_matrix
from curate.base.schemas import KIND_DOCUMENT
from curate.engine.exchange import partition_targets
from curate.packing.similar import CROWD_BITS, alike, similarity, square
from curate.verify.tables import read
from curate.verify.windows import read_windows

if TYPE_CHECKING:
    from curate.inspect.reader import RunReader
    from curate.verify.verify import Report

VECTOR_BYTES = 512_000_000
"""Embeddings held at a time; more documents than fit are looked at in several passes."""

REFUSING = ("related", "best_fit")
"""Packing methods that promise that no pair at or above the limit shares a window."""

Int64s = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _pairs(
    window: Int64s, row: Int64s, vectors: NDArray[np.int8], inverse: NDArray[np.float64], limit: float, first: Int64s
) -> int:
    """Pairs of one window that are alike; ``first`` int64[m, 3] receives (window, row, row) of the first ones."""
    found = 0
    for j in range(window.shape[0]):
        k = j + 1
        while k < window.shape[0] and window[k] == window[j]:
            if alike(vectors, inverse, limit, row[j], row[k]):
                if found < first.shape[0]:
                    first[found, 0], first[found, 1], first[found, 2] = window[j], row[j], row[k]
                found += 1
            k += 1
    return found


@njit(nogil=True, cache=True)
def _crowded(
    window: Int64s, row: Int64s, vectors: NDArray[np.int8], inverse: NDArray[np.float64], crowd: int, first: Int64s
) -> int:
    """Windows in which the squared cosines of a document to the others sum to more than ``crowd``.

    ``first`` int64[m, 3] receives (window, row, sum) of the document with the largest sum in each of the first ones.
    """
    found, start = 0, 0
    while start < window.shape[0]:
        end = start
        while end < window.shape[0] and window[end] == window[start]:
            end += 1
        most, worst = np.int64(-1), start
        for j in range(start, end):
            total = np.int64(0)
            for k in range(start, end):
                if k != j:
                    total += square(vectors, inverse, row[j], row[k])
            if total > most:
                most, worst = total, j
        if most > crowd:
            if found < first.shape[0]:
                first[found, 0], first[found, 1], first[found, 2] = window[worst], row[worst], most
            found += 1
        start = end
    return found


def check_similar(run: RunReader, report: Report) -> None:
    """Count the pairs of different documents in one window whose cosine is at or above the limit.

    Where `pack.min_vendi` asks for diversity, count the windows that have less, as the packer measures it.
    """
    from curate.stages.pack.stage import max_similarity

    limit = max_similarity(run.recipe)
    method = run.snapshots["windows"].details["method"]
    dim = int(run.snapshots["embeddings"].details["dim"])
    held: list[tuple[str, Int64s, NDArray[np.uint64]]] = []
    size = 0
    files = run.snapshots["windows"].files
    for i, file in enumerate(files):
        columns = read_windows(run, file)
        is_document = columns["kind"] == KIND_DOCUMENT
        window, doc_id = columns["window"][is_document].astype(np.int64), columns["doc_id"][is_document]
        order = np.lexsort((doc_id, window))
        window, doc_id = window[order], doc_id[order]
        once = np.ones(len(window), np.bool_)
        once[1:] = (window[1:] != window[:-1]) | (doc_id[1:] != doc_id[:-1])
        held.append((file.path, window[once], doc_id[once]))
        size += dim * int(once.sum())
        if size >= VECTOR_BYTES or i == len(files) - 1:
            _count(run, report, held, limit, method)
            held, size = [], 0


def _count(
    run: RunReader, report: Report, held: list[tuple[str, Int64s, NDArray[np.uint64]]], limit: float, method: str
) -> None:
    ids = np.unique(np.concatenate([doc_id for _, _, doc_id in held]))
    report.count("similar", f"pairs at or above {limit:g}", 0)
    if len(ids) == 0:
        return
    floor = run.recipe.pack.min_vendi
    near = similarity(_vectors(run, ids), limit, floor)
    for path, window, doc_id in held:
        row = np.searchsorted(ids, doc_id).astype(np.int64)
        if floor:
            _check_diversity(report, path, ids, floor, (window, row, near.vectors, near.inverse, near.crowd))
        first = np.full((5, 3), -1, np.int64)
        found = _pairs(window, row, near.vectors, near.inverse, near.limit, first)
        report.count("similar", f"pairs at or above {limit:g}", found)
        if found and method in REFUSING:
            for at, a, b in first[first[:, 0] >= 0]:
                report.fault(
                    "similar",
                    f"{path}, window {at}",
                    f"documents {ids[a]} and {ids[b]} have a cosine of at least {limit:g}",
                )


def _check_diversity(report: Report, path: str, ids: NDArray[np.uint64], floor: float, held: tuple[Any, ...]) -> None:
    first = np.full((5, 3), -1, np.int64)
    report.count("similar", f"windows less diverse than {floor:g}", _crowded(*held, first))
    for at, row, total in first[first[:, 0] >= 0]:
        report.fault(
            "similar",
            f"{path}, window {at}",
            f"the squared cosines of document {ids[row]} to the others sum to {total / 2.0**CROWD_BITS:.3f}, more than the "
            f"{held[-1] / 2.0**CROWD_BITS:.3f} that `pack.min_vendi: {floor:g}` allows",
        )


def _vectors(run: RunReader, ids: NDArray[np.uint64]) -> NDArray[np.int8]:
    """int8[n, D] of sorted doc_ids, read partition by partition."""
    documents, embeddings = run.snapshots["documents"], run.snapshots["embeddings"]
    named = embeddings.named()
    found: NDArray[Any] = np.zeros((len(ids), int(embeddings.details["dim"])), np.int8)
    targets = partition_targets(ids, documents)
    for target in np.unique(targets):
        table = read(run, named[documents.files[target].name], ["doc_id", "vector"])
        rows = np.flatnonzero(targets == target)
        have = table["doc_id"].to_numpy()
        at = np.searchsorted(have, ids[rows])
        known = (
            (at < len(have)) & (have[np.minimum(at, len(have) - 1)] == ids[rows])
            if len(have)
            else np.zeros(len(rows), np.bool_)
        )
        found[rows[known]] = vector_matrix(table.take(pa.array(at[known]))["vector"])
    return found
