"""Orders of the literature: against a plain reading of each, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curate.relate.embedders import lexical
from curate.relate.neighbors import neighbors
from curate.relate.orders.buffered import buffered
from curate.relate.orders.icp_code import icp_code
from curate.relate.orders.keyword import keyword
from curate.relate.similarity import cosine


def script_by_lists(near: list[list[int]]) -> list[int]:
    """The released script as plain lists and sets, with the two repairs."""
    unseen, clusters, of = list(range(len(near))), {}, {}
    current = unseen.pop(0)
    number, length = 0, 0
    clusters[0], of[current] = [current], 0
    while unseen:
        following = next((k for k in near[current][:9] if k in unseen), None)
        if following is None or length >= 21:
            current = unseen.pop(0)
            number, length = number + 1, 0
            clusters[number] = []
        else:
            current = following
            unseen.remove(current)
        clusters[number].append(current)
        of[current] = number
        length += 1
    for number, members in list(clusters.items()):
        if len(members) >= 21:
            continue
        for document in list(members):
            target = next((k for k in near[document][:9] if of[k] != number), None)
            if target is None:
                continue
            members.remove(document)
            clusters[of[target]].insert(clusters[of[target]].index(target), document)
            of[document] = of[target]
    return [document for members in clusters.values() for document in members]


@pytest.mark.parametrize("n", [1, 5, 30, 400])
def test_icp_code_is_the_script(loose: Callable, n: int) -> None:
    found = neighbors(loose(n), 12, 0.95).ids
    expected = script_by_lists([[int(k) for k in row if k >= 0] for row in found])
    assert icp_code(found).tolist() == expected
    assert sorted(expected) == list(range(n))


def test_buffered_with_room_for_all_is_the_nearest_unvisited(loose: Callable) -> None:
    vectors = loose(60)
    table = cosine(vectors, vectors)
    left, expected = list(range(1, 60)), [0]
    while left:
        following = max(left, key=lambda j: (table[expected[-1], j], -j))
        expected.append(following)
        left.remove(following)
    assert buffered(vectors, buffer=60).tolist() == expected


def test_buffered_holds_no_more_than_its_buffer(loose: Callable) -> None:
    vectors = loose(200)
    for star in (0, 5):
        path = buffered(vectors, buffer=8, star=star)
        assert sorted(path.tolist()) == list(range(200))
        assert (path - np.arange(200) < 8).all()  # nothing comes before it has arrived
    assert buffered(vectors, buffer=1).tolist() == list(range(200))


def test_a_star_is_about_its_seed(loose: Callable) -> None:
    vectors = loose(50)
    table = cosine(vectors, vectors)
    path = buffered(vectors, buffer=50, star=5)
    assert path[0] == 0
    assert set(path[1:5].tolist()) == set((np.argsort(-table[0, 1:], kind="stable")[:4] + 1).tolist())
    assert path[5] == min(set(range(50)) - set(path[:5].tolist()))


def test_keyword_groups_by_the_first_shared_keyword() -> None:
    keywords = np.array([[7, 3], [9, 3], [4, 9], [3, -1], [-1, -1], [5, 9]], np.int32)
    ids = np.arange(6, dtype=np.uint64)
    path = keyword(keywords, ids).tolist()
    assert sorted(path) == list(range(6))
    places = {document: at for at, document in enumerate(path)}
    # 7, 4 and 5 occur once: 0 stands under 3, 1 under 9, 2 under 9, 3 under 3, 5 under 9; 4 has none
    assert abs(places[0] - places[3]) == 1
    assert max(places[d] for d in (1, 2, 5)) - min(places[d] for d in (1, 2, 5)) == 2
    assert path[-1] == 4
    assert keyword(keywords[:3, :0], ids[:3]).tolist() != []


def test_keywords_are_the_heaviest_terms() -> None:
    texts = ["apple pear apple plum", "plum cherry", "cherry apple", "banana cherry banana cherry plum", ""]
    model = lexical.fit(texts, dim=4)
    found = model.keywords(texts, 2)
    assert found.shape == (5, 2)
    pointers, terms, counts = model._vocabulary.counts(*lexical._buffers(texts))
    for row in range(5):
        here = slice(pointers[row], pointers[row + 1])
        weight = (1 + np.log(counts[here])) * model.idf[terms[here]]
        ranked = np.lexsort((-terms[here], -weight))
        expected = terms[here][ranked[weight[ranked] > 0]][:2].tolist()  # too common terms weigh nothing
        assert found[row].tolist() == expected + [-1] * (2 - len(expected))
