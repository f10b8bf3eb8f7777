"""Paths: known answers, exact optima of small cases, and independence of everything but the documents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curate.base.errors import RequestError
from curate.relate import graph
from curate.relate.graph import Cover, edges, jumps
from curate.relate.local_search import improve
from curate.relate.measures import path_counts, similarity_to_previous
from curate.relate.neighbors import Neighbors, neighbors
from curate.relate.orders import ORDERS, Region, find_path
from curate.relate.orders.icp import icp
from curate.relate.orders.related import related
from curate.relate.similarity import cosine, pair_cosine


def ids(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64) * 7 + 1


def path_by(method: str, *documents: object, **known: object) -> tuple[np.ndarray, dict[str, float]]:
    region = Region(*documents, **known)  # type: ignore[arg-type]
    path = find_path(method, region)
    return path, path_counts(path, region.vectors, region.found.ids, region.found.similarity, region.max_similarity)


def weight(vectors: np.ndarray, path: np.ndarray) -> float:
    return float(pair_cosine(vectors, path[:-1], path[1:]).sum())


def best_weight(vectors: np.ndarray) -> float:
    """The heaviest path over all documents, by dynamic programming over subsets."""
    table, n = cosine(vectors, vectors), len(vectors)
    best = np.full((1 << n, n), -np.inf)
    best[1 << np.arange(n), np.arange(n)] = 0
    for seen in range(1, 1 << n):
        reached = (best[seen][:, None] + table).max(axis=0)
        for following in range(n):
            if not seen >> following & 1:
                best[seen | 1 << following, following] = reached[following]
    return float(best[-1].max())


@pytest.mark.parametrize("method", ORDERS.names())
@pytest.mark.parametrize("n", [0, 1, 2, 3, 50])
def test_every_document_once(loose: Callable, method: str, n: int) -> None:
    vectors = loose(n) if n else np.zeros((0, 8), np.int8)
    label, keys = np.arange(n) % 3, np.arange(2 * n, dtype=np.int32).reshape(n, 2) % 7
    path, counts = path_by(
        method,
        vectors,
        neighbors(vectors, 5, 0.95),
        ids(n),
        sources=label,
        clusters=label,
        keywords=keys,
        max_similarity=0.95,
    )
    assert sorted(path.tolist()) == list(range(n))
    assert path.dtype == np.int64
    assert counts["documents"] == n
    assert counts["weight"] == pytest.approx(weight(vectors, path), abs=1e-4)


def test_ring_is_recovered(ring: Callable) -> None:
    vectors = ring(60)
    mixed = np.random.default_rng(0).permutation(60)  # document i stands at place mixed[i] of the ring
    found = neighbors(vectors[mixed], 4, 0.9999)
    for path in (
        related(vectors[mixed], found.ids, found.similarity, ids(60)),
        icp(vectors[mixed], found.ids, found.similarity, ids(60)),
    ):
        steps = np.diff(mixed[path]) % 60
        assert np.isin(steps, [1, 59]).sum() >= 58
    assert np.isin(np.diff(mixed[related(vectors[mixed], found.ids, found.similarity, ids(60))]) % 60, [1, 59]).all()


def test_line_is_recovered(ring: Callable) -> None:
    """Half a ring: each document but the two ends is most like the two beside it."""
    vectors = ring(120)[:60]
    mixed = np.random.default_rng(1).permutation(60)
    found = neighbors(vectors[mixed], 6, 0.9999)
    path = mixed[related(vectors[mixed], found.ids, found.similarity, ids(60))]
    assert path.tolist() in (list(range(60)), list(range(59, -1, -1)))


def test_planted_clusters_stay_together(planted: Callable) -> None:
    vectors, label = planted(n=200, clusters=5, noise=0.8)
    found = neighbors(vectors, 10, 0.95)
    path = related(vectors, found.ids, found.similarity, ids(200), max_similarity=0.95)
    assert (np.diff(label[path]) != 0).sum() == 4


@pytest.mark.parametrize("n", [2, 5, 9, 12])
@pytest.mark.parametrize("seed", range(6))
def test_near_the_optimum(loose: Callable, seed: int, n: int) -> None:
    vectors = loose(n, dim=6, seed=seed)
    found = neighbors(vectors, n - 1)
    best = best_weight(vectors)
    assert weight(vectors, related(vectors, found.ids, found.similarity, ids(n))) >= best - 0.02 * abs(best)


def test_better_than_the_walk_and_better_with_kicks(loose: Callable) -> None:
    vectors = loose(400)
    found = neighbors(vectors, 10, 0.95)
    walk = weight(vectors, icp(vectors, found.ids, found.similarity, ids(400)))
    still, kicked = (weight(vectors, related(vectors, found.ids, found.similarity, ids(400), kicks=k)) for k in (0, 2))
    assert walk < still < kicked < 0.5 * found.similarity[:, :2].sum()


def test_local_search_never_loses(loose: Callable) -> None:
    vectors = loose(120)
    found = neighbors(vectors, 8, 0.9)
    for seed in range(5):
        path = np.random.default_rng(seed).permutation(120)
        before = path.copy()
        better = improve(path, vectors, found.ids, found.similarity, 0.9, kicks=50)
        assert sorted(better.tolist()) == list(range(120))
        assert weight(vectors, better) > weight(vectors, path)
        assert path.tolist() == before.tolist()
        assert (pair_cosine(vectors, better[:-1], better[1:]) >= 0.9).sum() <= (
            pair_cosine(vectors, path[:-1], path[1:]) >= 0.9
        ).sum()


def test_duplicates_are_not_put_next_to_each_other(planted: Callable) -> None:
    vectors, _ = planted(n=90, noise=3.0)
    vectors[40:60] = vectors[20:40]
    found = neighbors(vectors, 8, 0.95)
    path = related(vectors, found.ids, found.similarity, ids(90), max_similarity=0.95)
    assert pair_cosine(vectors, path[:-1], path[1:]).max() < 0.95


def test_only_duplicates_still_make_a_path() -> None:
    vectors = np.tile(np.array([[5, 7, 9]], np.int8), (6, 1))
    found = neighbors(vectors, 3, 0.95)
    path = related(vectors, found.ids, found.similarity, ids(6), max_similarity=0.95)
    assert path.tolist() == list(range(6))


@pytest.mark.parametrize("method", ["related", "icp"])
def test_zero_vectors_come_last(loose: Callable, method: str) -> None:
    vectors = loose(40)
    vectors[[3, 0, 17]] = 0
    path, _ = path_by(method, vectors, neighbors(vectors, 5, 0.95), ids(40))
    assert path[-3:].tolist() == [0, 3, 17]
    without, _ = path_by(
        method, np.delete(vectors, [0, 3, 17], 0), neighbors(np.delete(vectors, [0, 3, 17], 0), 5, 0.95), ids(37)
    )
    assert path[:-3].tolist() == np.delete(np.arange(40), [0, 3, 17])[without].tolist()


@pytest.mark.parametrize("method", ORDERS.names())
def test_result_depends_on_the_set_of_documents_alone(loose: Callable, method: str) -> None:
    vectors, doc_ids = loose(150), ids(150)
    label, keys = np.arange(150) % 4, np.arange(300, dtype=np.int32).reshape(150, 2) % 7
    one, _ = path_by(
        method, vectors, neighbors(vectors, 6, 0.95), doc_ids, sources=label, clusters=label, keywords=keys
    )
    arrived = np.random.default_rng(3).permutation(150)
    back = np.argsort(doc_ids[arrived])
    again = vectors[arrived][back]
    two, _ = path_by(
        method, again, neighbors(again, 6, 0.95), doc_ids[arrived][back], sources=label, clusters=label, keywords=keys
    )
    assert one.tolist() == two.tolist()


def test_random_depends_on_seed_and_id_only() -> None:
    vectors = np.zeros((30, 4), np.int8)
    found = neighbors(vectors, 2)
    path, _ = path_by("random", vectors, found, ids(30))
    other, _ = path_by("random", vectors, found, ids(30), seed=1)
    fewer, _ = path_by("random", vectors[:20], Neighbors(*(a[:20] for a in found)), ids(20))
    assert path.tolist() != other.tolist()
    assert fewer.tolist() == path[path < 20].tolist()


def test_icp_by_hand() -> None:
    """0-1-2 in a line, 3 linked to 2 most strongly, 4 alone: smallest degree first, then the strongest unvisited."""
    neighbor_ids = np.array([[1, -1], [2, 0], [3, 1], [2, -1], [-1, -1]])
    similarity = np.array([[0.5, 0], [0.6, 0.5], [0.9, 0.6], [0.9, 0], [0, 0]])
    assert icp(np.ones((5, 4), np.int8), neighbor_ids, similarity, ids(5)).tolist() == [4, 0, 1, 2, 3]


def test_cover_by_hand() -> None:
    neighbor_ids = np.array([[1, 2], [0, 2], [1, 0], [0, -1]])
    similarity = np.array([[0.9, 0.7], [0.9, 0.8], [0.8, 0.7], [0.6, 0]])
    graph = edges(neighbor_ids, similarity)
    assert list(zip(graph.a.tolist(), graph.b.tolist(), strict=True)) == [(0, 1), (1, 2), (0, 2), (0, 3)]
    cover = Cover(4)
    assert cover.take_neighbors(neighbor_ids, similarity) == 3  # (0, 2) would close a cycle
    assert cover.walk().tolist() == [2, 1, 0, 3]


def test_similarity_to_previous(loose: Callable) -> None:
    vectors = loose(30)
    found = neighbors(vectors, 3, 0.95)
    path, counts = path_by("related", vectors, found, ids(30), max_similarity=0.95)
    along = similarity_to_previous(vectors, path, found.ids)
    assert along.dtype == np.float32
    assert along[0] == 0
    is_jump = jumps(path, found.ids)
    assert (along[1:] == 0).sum() == is_jump.sum() == counts["jumps"]
    steps = np.round(pair_cosine(vectors, path[:-1], path[1:]), 4)
    assert along[1:][~is_jump] == pytest.approx(steps[~is_jump])
    assert similarity_to_previous(vectors[:0], path[:0], found.ids[:0]).tolist() == []


def test_requests_that_are_wrong(loose: Callable) -> None:
    vectors = loose(5)
    found = neighbors(vectors, 2)
    with pytest.raises(RequestError, match="unknown order 'best'; there are: related, icp"):
        path_by("best", vectors, found, ids(5))
    with pytest.raises(ValueError, match="sort documents and vectors by doc_id"):
        path_by("related", vectors, found, ids(5)[::-1])


def take(cover: Cover, a: np.ndarray, b: np.ndarray) -> int:
    """The edges of one list, in its order."""
    taken = int(graph._take(a, b, cover.links, cover.degree, cover._parent))
    cover.n_paths -= taken
    return taken


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_cover_needs_no_list_of_edges(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of edges by weight give the paths of one sorted list, with many ties and with few."""
    monkeypatch.setattr(graph, "_SLICE", 50)
    rng = np.random.default_rng(levels)
    near = np.array([rng.choice(np.delete(np.arange(80), i), 9, replace=False) for i in range(80)])
    near[::7, 5:] = -1
    similarity = np.round(rng.uniform(-0.2, 1, (80, 80)) * levels) / levels
    similarity = np.take_along_axis(np.maximum(similarity, similarity.T), np.maximum(near, 0), axis=1)
    whole, sliced = Cover(80), Cover(80)
    listed = edges(near, similarity)
    positive = listed.weight > 0
    taken = take(whole, listed.a[positive], listed.b[positive])
    assert taken == sliced.take_neighbors(near, similarity)
    assert whole.walk().tolist() == sliced.walk().tolist()
    assert whole.n_paths == sliced.n_paths > 1
    # Of some documents, in their own numbering, those of negative weight too.
    some = np.sort(rng.choice(200, 80, replace=False))
    whole, sliced = Cover(200), Cover(200)
    taken = take(whole, some[listed.a], some[listed.b])
    assert taken == sliced.take_neighbors(near, similarity, some)
    assert whole.walk().tolist() == sliced.walk().tolist()
