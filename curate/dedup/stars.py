"""Connected components by rounds over edges that lie in parts: large-star and small-star.

Kiveris et al.: Connected Components in MapReduce and Beyond (SoCC 2014), §3. A round sends each edge to both of its ends
(:func:`large_star`), then to its larger end (:func:`small_star`); rounds repeat until the edge set no longer changes. It
then holds one star a component, around its smallest document. Neither step enlarges the edge set.

Legend: E rows of a part. Ids are uint64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import mix64

IDs = NDArray[np.uint64]


def distinct_rows(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """The rows, each once, by (node, neighbor)."""
    order = np.lexsort((neighbor, node))
    node, neighbor = node[order], neighbor[order]
    keep = np.ones(len(node), np.bool_)
    keep[1:] = (node[1:] != node[:-1]) | (neighbor[1:] != neighbor[:-1])
    return node[keep], neighbor[keep]


def _smallest(node: IDs, neighbor: IDs) -> IDs:
    """uint64[E]: by row, the smallest of the node and its neighbors; rows are sorted."""
    first = np.concatenate([[True], node[1:] != node[:-1]]) if len(node) else np.zeros(0, np.bool_)
    at = np.maximum.accumulate(np.where(first, np.arange(len(node)), 0))
    return np.minimum(node, neighbor[at])


def large_star(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """(v, m): every larger neighbor v of a node is joined to the smallest m around the node.

    Args:
        node, neighbor: distinct rows; all neighbors of a node that is in the part, edges in both directions.
    """
    larger = neighbor > node
    return neighbor[larger], _smallest(node, neighbor)[larger]


def small_star(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """(v, m): a node and its smaller neighbors are joined to the smallest of them.

    Args:
        node, neighbor: distinct rows with neighbor < node; all smaller neighbors of a node that is in the part.
    """
    smallest = _smallest(node, neighbor)
    first = np.concatenate([[True], node[1:] != node[:-1]]) if len(node) else np.zeros(0, np.bool_)
    rest = neighbor != smallest
    return np.concatenate([node[first], neighbor[rest]]), np.concatenate([smallest[first], smallest[rest]])


def edges_digest(node: IDs, neighbor: IDs) -> list[int]:
    """[edges, sum of their hashes modulo 2⁶⁴] of distinct rows in both directions; adds over parts, each edge once."""
    down = node > neighbor
    with np.errstate(over="ignore"):
        hashes = mix64(mix64(node[down]) + neighbor[down])
        return [int(down.sum()), int(hashes.sum(dtype=np.uint64))]


def star_labels(node: IDs, neighbor: IDs) -> tuple[IDs, IDs]:
    """(ids, labels) of the nodes of a part once the edges are stars; the argument as for :func:`large_star`."""
    first = np.concatenate([[True], node[1:] != node[:-1]]) if len(node) else np.zeros(0, np.bool_)
    return node[first], _smallest(node, neighbor)[first]
