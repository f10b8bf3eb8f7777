"""From buckets to removed documents: candidate pairs, true similarities, components, keepers.

A group is whatever documents buckets connect; one call takes any number of whole groups, and what it decides about a
document depends on its own group alone. The steps, and what is promised, are in docs/dedup.md.

Legend: n documents, S shingles, G buckets, M bucket members, P permutations, K preferences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.columns import IDs, read_only
from curate.base.text import sample_texts
from curate.dedup.candidates import (
    Candidates,
    Hashes,
    Ratios,
    Rows,
    containment,
    intersections,
    screen_cutoff,
    star_pairs,
)
from curate.dedup.components import components, union_find
from curate.dedup.keepers import (
    CAPPED,
    MEASURED,
    POOL,
    SCREENED,
    Bounds,
    Buckets,
    Components,
    KnownPairs,
    choose_keepers,
)
from curate.dedup.minhash import MinHashParams, Signature, band_keys, group, sign
from curate.dedup.shingles import shingle_sets

MAX_ROUNDS = 8
"""Stars that a bucket may have (design: rejected members form a star of their own, at most eight times)."""

LARGE = 1_000
"""Members above which a component compares each document with a bounded number of keepers."""

MAX_KEEPERS = 64
"""That number."""


class Resolved(NamedTuple):
    """One entry a removed document, ascending by row.

    ``removed`` and ``keeper`` int64: rows; ``component`` uint64: smallest doc_id of the component; ``similarity``
    float32: true Jaccard to the keeper, rounded to 1e-4 (the decision was taken on the exact ratio); ``shared_bands``
    uint16: buckets that the two share; ``containment`` float32: share of the smaller shingle set that lies in the other,
    rounded to 1e-4 (1: one document inside the other). ``counters``:

    - ``candidates``: distinct pairs that the buckets' stars tried = ``verified`` + ``false_positives``
    - ``screened``: pairs that were not measured because sizes or signatures put them far below the threshold
    - ``measured``: true similarities computed, in stars and in components
    - ``components``: components of verified edges; ``removed``: documents removed
    - ``capped``: documents that were not compared with all keepers of their (large) component
    """

    removed: Rows
    keeper: Rows
    component: NDArray[np.uint64]
    similarity: NDArray[np.float32]
    shared_bands: NDArray[np.uint16]
    containment: NDArray[np.float32]
    counters: dict[str, int]


def resolve(
    doc_ids: IDs,
    values: Hashes,
    offsets: Rows,
    preference: Ratios,
    bucket_offsets: Rows,
    members: Rows,
    threshold: float,
    *,
    max_rounds: int = MAX_ROUNDS,
    large: int = LARGE,
    max_keepers: int = MAX_KEEPERS,
    signature: Signature | None = None,
    pinned: NDArray[np.bool_] | None = None,
) -> Resolved:
    """The documents to remove, each with the kept document that it is like.

    Args:
        doc_ids: uint64[n], ascending.
        values, offsets: uint64[S] and int64[n+1], shingle sets (:func:`curate.dedup.shingles.shingle_sets`).
        preference: float64[n, K]; larger is kept first, the first column decides, NaN is worst; ties end with doc_id.
        bucket_offsets, members: int64[G+1] and int64[M]; rows of the documents of each bucket.
        threshold: true Jaccard similarity at which a document is a duplicate, in (0, 1].
        max_rounds, large, max_keepers: bounds on the work, see the constants.
        signature: uint32[n, P]; without it every candidate is measured, and large components fall back on their first
            ``max_keepers`` keepers.
        pinned: bool[n]; documents that stay whatever they are like. They come before all others as keepers, and pairs of
            two of them are not measured.

    Raises:
        ValueError: when the arguments do not fit together.
    """
    n = len(doc_ids)
    _check(doc_ids, offsets, preference, bucket_offsets, members, signature)
    if not 0 < threshold <= 1 or max_keepers < 1:
        raise ValueError(f"threshold is {threshold}, it must lie in (0, 1]; max_keepers is {max_keepers}, at least 1")
    pinned = np.zeros(n, np.bool_) if pinned is None else pinned
    pairs = star_pairs(values, offsets, bucket_offsets, members, threshold, max_rounds, signature, pinned)
    verified = pairs.similarity >= threshold
    label = union_find(pairs.a[verified].astype(np.int32), pairs.b[verified].astype(np.int32), n)
    by_component = _components(label, preference, pinned)
    buckets = Buckets(bucket_offsets, *_row_buckets(bucket_offsets, members, n))
    keeper, similarity = np.full(n, -1, np.int64), np.zeros(n)
    if signature is None:
        signature, cutoff = np.zeros((n, 0), np.uint32), 0.0
    else:
        cutoff = screen_cutoff(threshold, signature.shape[1])
    counts = choose_keepers(
        read_only(values),
        read_only(offsets),
        by_component,
        _by_row(pairs, label, n),
        buckets,
        read_only(signature),
        pinned,
        Bounds(threshold, cutoff, large, max_keepers, POOL),
        keeper,
        similarity,
    )
    removed = np.flatnonzero(keeper >= 0)
    shared = intersections(buckets.of_rows, buckets.row_offsets, removed, keeper[removed])
    return Resolved(
        removed,
        keeper[removed],
        doc_ids[label[removed]],
        np.round(similarity[removed], 4).astype(np.float32),
        np.minimum(shared, np.iinfo(np.uint16).max).astype(np.uint16),
        np.round(containment(values, offsets, removed, keeper[removed]), 4).astype(np.float32),
        _counters(pairs, verified, counts, len(by_component.offsets) - 1, len(removed)),
    )


def _counters(
    pairs: Candidates, verified: NDArray[np.bool_], counts: Rows, num_components: int, num_removed: int
) -> dict[str, int]:
    """The counters of :class:`Resolved`."""
    unmeasured = int((pairs.similarity < 0).sum())
    return {
        "candidates": len(verified),
        "verified": int(verified.sum()),
        "false_positives": int((~verified).sum()),
        "screened": unmeasured + int(counts[SCREENED]),
        "measured": len(verified) - unmeasured + int(counts[MEASURED]),
        "components": num_components,
        "removed": num_removed,
        "capped": int(counts[CAPPED]),
    }


def _check(
    doc_ids: IDs, offsets: Rows, preference: Ratios, bucket_offsets: Rows, members: Rows, signature: Signature | None
) -> None:
    n = len(doc_ids)
    if n >= 2**31 - 1:
        raise ValueError(f"{n:,} documents are more than one call resolves (2^31); split them by group")
    shape = None if signature is None else signature.shape
    if {len(offsets) - 1, len(preference), shape[0] if shape else n} != {n} or preference.ndim != 2:
        raise ValueError(
            f"{n} documents, but {len(offsets) - 1} shingle sets, preferences {preference.shape}, signatures {shape}"
        )
    if (doc_ids[1:] <= doc_ids[:-1]).any():
        raise ValueError(
            "doc_ids must ascend, each once: rows stand for documents, and ties end with the smaller doc_id"
        )
    if len(bucket_offsets) == 0 or bucket_offsets[-1] != len(members):
        raise ValueError(f"the last bucket ends at {bucket_offsets[-1:]}, but there are {len(members)} members")
    if len(members) and not 0 <= int(members.min()) <= int(members.max()) < n:
        raise ValueError(f"bucket members are rows {members.min()} to {members.max()}, but there are {n} documents")


def _components(label: NDArray[np.int32], preference: Ratios, pinned: NDArray[np.bool_]) -> Components:
    """The components of two or more documents."""
    n = len(label)
    rows = np.flatnonzero(np.bincount(label, minlength=n)[label] > 1)
    worst_last = [-np.where(np.isnan(column), -np.inf, column) for column in preference[rows].T]
    docs = rows[np.lexsort([rows, *reversed(worst_last), ~pinned[rows], label[rows]])]
    sizes = np.bincount(label[docs], minlength=n)
    return Components(docs, np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.int64))


def _by_row(pairs: Candidates, label: NDArray[np.int32], n: int) -> KnownPairs:
    """Measured pairs inside components, from both sides."""
    inside = (pairs.similarity >= 0) & (label[pairs.a] == label[pairs.b])
    a, b, similarity = pairs.a[inside], pairs.b[inside], pairs.similarity[inside]
    rows, others = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.argsort(rows, kind="stable")
    return KnownPairs(_offsets(rows, n), others[order], np.concatenate([similarity, similarity])[order])


def _row_buckets(bucket_offsets: Rows, members: Rows, n: int) -> tuple[Rows, NDArray[np.uint64]]:
    """(offsets int64[n+1], buckets uint64[M]): the buckets of each row, ascending."""
    bucket = np.repeat(np.arange(len(bucket_offsets) - 1, dtype=np.uint64), np.diff(bucket_offsets))
    return _offsets(members, n), bucket[np.argsort(members, kind="stable")]


def _offsets(rows: Rows, n: int) -> Rows:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int64)


def compile_kernels() -> None:
    """Compile what leads from texts to near duplicates: signatures, buckets, components, shingle sets, keepers."""
    params = MinHashParams()
    texts = pa.concat_arrays([sample_texts()] * 2)
    signature = sign(texts, params).signature
    ids = np.arange(len(texts), dtype=np.uint64)
    keys = band_keys(signature, params)
    _, members, bounds = group(keys.ravel(), np.repeat(ids, params.bands))
    components(ids[:-1], ids[1:])
    values, offsets = shingle_sets(texts, params.ngram)
    resolve(ids, values, offsets, np.zeros((len(ids), 1)), bounds, members.astype(np.int64), 0.8, signature=signature)
