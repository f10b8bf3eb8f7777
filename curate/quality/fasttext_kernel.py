"""What a supervised fastText model says of many texts, in one compiled pass: what the library computes, several times faster.

:mod:`curate.quality.fasttext_file` reads the file of a model, :mod:`curate.quality.fasttext_rows` sums the rows of a text;
here its labels are told, with the library's sums in its order (fastText 0.9.2, ``src/loss.cc``; MIT).

Legend: D dimensions, L labels; N texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.columns import read_only
from curate.base.compiled import inner, kernel, tiny
from curate.base.errors import RequestError
from curate.base.text import Bytes, Offsets
from curate.quality.fasttext_rows import BUFFER, ModelTables, Room, Rows, is_blank, scale, sum_rows
from curate.quality.octets import longest_text

Scores = NDArray[np.float64]

HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
"""``loss_name`` of ``src/args.h``."""
SIGMOID_CELLS, SIGMOID_END = 512, 8
"""``SIGMOID_TABLE_SIZE`` and ``MAX_SIGMOID`` of ``src/loss.cc``: the logistic function is looked up, not computed."""

_UNTOLD = -2
"""The label of a text whose numbers are none: the model is damaged."""


@tiny
def _log(x: np.float32) -> np.float32:
    return np.float32(np.log(np.float64(x) + 1e-5))


@inner
def _score_by_tree(model: ModelTables, hidden: Rows, room: Room) -> None:
    """The probabilities of the labels of a hierarchical model, from the root down; 0 below the least that the library tells."""
    tree, nodes = model.tree, room.nodes
    n_labels = room.scores.shape[0]
    nodes[2 * n_labels - 2] = np.float32(0)
    for node in range(2 * n_labels - 2, n_labels - 1, -1):
        f = np.float32(0)
        for k in range(hidden.shape[0]):
            f += model.outputs[node - n_labels, k] * hidden[k]
        p = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-f)))
        nodes[tree[node, 0]] = nodes[node] + _log(np.float32(1.0 - np.float64(p)))
        nodes[tree[node, 1]] = nodes[node] + _log(p)
    for j in range(n_labels):
        room.scores[j] = np.exp(nodes[j]) if nodes[j] >= _log(np.float32(0)) else np.float32(0)


@inner
def _score_flat(model: ModelTables, hidden: Rows, room: Room) -> None:
    """The probabilities of the labels where each has a row."""
    scores, outputs = room.scores, model.outputs
    n = scores.shape[0]
    for j in range(n):
        scores[j] = np.float32(0)
    # Label by label in the inner loop: each sum is in the library's order, and the processor makes many at once.
    for k in range(hidden.shape[0]):
        h = hidden[k]
        for j in range(n):
            scores[j] += outputs[k, j] * h
    if model.options[6] == SOFTMAX:
        top = scores[0]
        for j in range(n):
            top = max(top, scores[j])
        total = np.float32(0)
        for j in range(n):
            scores[j] = np.exp(scores[j] - top)
            total += scores[j]
        for j in range(n):
            scores[j] = scores[j] / total
        return
    for j in range(n):
        x = scores[j]
        if x < -SIGMOID_END:
            scores[j] = np.float32(0)
        elif x > SIGMOID_END:
            scores[j] = np.float32(1)
        else:
            cell = np.float32(np.float32(x + np.float32(SIGMOID_END)) * np.float32(SIGMOID_CELLS))
            scores[j] = model.sigmoids[np.int64(cell / np.float32(2 * SIGMOID_END))]


@inner
def _is_number(hidden: Rows) -> bool:
    """Whether no dimension of a text is infinite or no number."""
    total = np.float32(0)
    for k in range(hidden.shape[0]):
        total += np.abs(hidden[k])
    return np.isfinite(total)


@inner
def _best_by_tree(model: ModelTables, hidden: Rows, room: Room, stack: Offsets) -> tuple[int, np.float32, np.float32]:
    """(label, its score, the next score), scores as logarithms; −1 where none reaches the least that the library tells."""
    tree, logs, least = model.tree, room.nodes, _log(np.float32(0))
    n_labels = room.scores.shape[0]
    best, best_score, next_score = -1, least, least
    filled = 1
    stack[0], logs[0] = 2 * n_labels - 2, np.float32(0)
    while filled:
        filled -= 1
        node, so_far = stack[filled], logs[filled]
        if so_far < next_score:
            continue
        if tree[node, 0] < 0:
            if best < 0 or so_far > best_score:
                next_score = max(best_score, least) if best >= 0 else least
                best, best_score = node, so_far
            else:
                next_score = so_far
            continue
        f = np.float32(0)
        for k in range(hidden.shape[0]):
            f += model.outputs[node - n_labels, k] * hidden[k]
        p = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-f)))
        # The left child is taken first, so it is put last.
        stack[filled], logs[filled] = tree[node, 1], so_far + _log(p)
        stack[filled + 1], logs[filled + 1] = tree[node, 0], so_far + _log(np.float32(1.0 - np.float64(p)))
        filled += 2
    return best, best_score, next_score


@inner
def _best_flat(scores: Rows) -> tuple[int, np.float32, np.float32]:
    """:func:`_best_by_tree` of probabilities: of labels with the same logarithm the last, as the library's heap leaves it."""
    top = scores[0]
    for j in range(1, scores.shape[0]):
        top = max(top, scores[j])
    best, log = 0, _log(top)
    for j in range(scores.shape[0] - 1, -1, -1):
        if scores[j] >= np.float32(0.999) * top and _log(scores[j]) == log:
            best = j
            break
    following = np.float32(0)
    for j in range(scores.shape[0]):
        if j != best:
            following = max(following, scores[j])
    return best, log, _log(following)


@inner
def _best(model: ModelTables, hidden: Rows, room: Room, stack: Offsets) -> tuple[int, np.float32, np.float32]:
    """(label, logarithm of its probability, that of the next label) of a text, or of a part of it, with this mean."""
    if model.tree.shape[0]:
        return _best_by_tree(model, hidden, room, stack)
    _score_flat(model, hidden, room)
    return _best_flat(room.scores)


@inner
def _agrees(label: int, count: int, model: ModelTables, room: Room, stack: Offsets) -> bool:
    """Whether both halves of a text of ``count`` rows, whose sum is ``room.hidden``, have the label, too."""
    of_first = room.marks[1]
    if not 0 < of_first < count:
        return False
    half = room.half
    # The second half first: what is left without the first.
    for k in range(half.shape[0]):
        half[k] = room.hidden[k] - half[k]
    scale(half, count - of_first)
    if _best(model, half, room, stack)[0] != label:
        return False
    for k in range(half.shape[0]):
        half[k] = room.hidden[k] - half[k] * np.float32(count - of_first)
    scale(half, of_first)
    return _best(model, half, room, stack)[0] == label


class Predicted(NamedTuple):
    """What a model says of N texts."""

    label: NDArray[np.int64]
    """int64[N]: place of the most probable label; −1 where a text is blank."""
    score: Scores
    """float64[N]: its probability, 0 there."""
    next_score: Scores
    """float64[N]: that of the label after it."""
    agrees: NDArray[np.bool_]
    """bool[N]: both halves of the text, alone, have the label, too; False where halves were not asked for."""
    scores: Scores
    """float64[N, K]: probabilities of the labels that were asked for."""


@inner
def _predict_text(
    d: int, count: int, halves: bool, wanted: Offsets, model: ModelTables, room: Room, stack: Offsets, out: Predicted
) -> None:
    """Row ``d`` of ``out``, of a text of ``count`` rows, whose sum is ``room.hidden``."""
    is_tree = model.tree.shape[0] > 0
    total, hidden = room.hidden, room.mean
    for k in range(hidden.shape[0]):
        hidden[k] = total[k]
    scale(hidden, count)
    best, log, next_log = _best(model, hidden, room, stack)
    out.label[d] = best if _is_number(hidden) and log == log else _UNTOLD
    if best < 0:
        return
    out.score[d], out.next_score[d] = np.exp(log), np.exp(next_log)
    if is_tree and wanted.shape[0]:
        _score_by_tree(model, hidden, room)
    for k in range(wanted.shape[0]):
        told = room.scores[wanted[k]]
        out.scores[d, k] = told if is_tree else np.exp(_log(told))
    if halves:
        out.agrees[d] = _agrees(best, count, model, room, stack)


@kernel
def _predict(
    data: Bytes, offsets: Offsets, ends: Offsets, model: ModelTables, wanted: Offsets, halves: bool, out: Predicted
) -> None:
    dimensions, is_tree = model.options[8], model.tree.shape[0] > 0
    n_labels = model.outputs.shape[0 if is_tree else 1]
    longest = longest_text(offsets, ends)
    n_nodes = 2 * n_labels if is_tree else 0
    room = Room(
        np.empty(longest + 2 if model.options[1] > 0 else 1, np.uint8),
        np.empty(longest // 2 + 2 if model.options[3] > 1 else 0, np.int32),
        np.empty(BUFFER, np.int64),
        np.empty(dimensions, np.float32),
        np.empty(dimensions, np.float32),
        np.empty(dimensions, np.float32),
        np.empty(3, np.int64),
        np.empty(n_labels, np.float32),
        np.empty(n_nodes, np.float32),
    )
    stack = np.empty(n_nodes, np.int64)
    room.word[0] = 60
    for d in range(ends.shape[0]):
        if is_blank(data, offsets[d], ends[d]):
            continue
        count = sum_rows(data, offsets[d], ends[d], model, room)
        if count:
            _predict_text(d, count, halves, wanted, model, room, stack, out)


class FastTextModel(NamedTuple):
    """A model that can be predicted with."""

    labels: list[str]
    tables: ModelTables

    def predict(
        self, data: Bytes, offsets: Offsets, ends: Offsets, wanted: Sequence[int] = (), halves: bool = False
    ) -> Predicted:
        """What the model says of every text ``data[offsets[i]:ends[i]]``.

        A newline or a byte 0 is white space, as it is to the library once newlines are spaces.

        Args:
            data: texts in UTF-8.
            offsets: where they begin.
            ends: where they end.
            wanted: places in ``labels`` of the labels whose probabilities are told, too.
            halves: tell whether both halves of a text have its label.

        Raises:
            RequestError: the model gives no number for a text.
        """
        n = len(ends)
        out = Predicted(
            np.full(n, -1, np.int64), np.zeros(n), np.zeros(n), np.zeros(n, np.bool_), np.zeros((n, len(wanted)))
        )
        _predict(read_only(data), read_only(offsets), ends, self.tables, np.array(wanted, np.int64), halves, out)
        if (out.label == _UNTOLD).any():
            raise RequestError("the fastText model gives no number for a text; its file is damaged")
        return out
