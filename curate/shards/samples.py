"""What a model is fed: one window as arrays of ids, labels, positions and segments.

``attention`` says what a token may see, and labels and positions follow from it:

- ``document``: its own segment. Positions begin at 0 in each segment, and a segment's first token is no label, since
  nothing that may be seen foretells it.
- ``window``: everything before it in the window. Positions run through; only padding is no label.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from curate.shards.denoise import Mixture, corrupt

Int64s = NDArray[np.int64]
Attention = Literal["document", "window"]
ATTENTIONS: tuple[str, ...] = get_args(Attention)

NO_LABEL = -100
"""The label that losses leave out: the default ``ignore_index`` of PyTorch's cross-entropy."""


def sample(tokens: NDArray[Any], lengths: Int64s, attention: Attention) -> dict[str, NDArray[Any]]:
    """One window of n tokens in segments of these lengths, without padding.

    Returns:
        input_ids: int64[n].
        labels: int64[n], the same ids, not shifted: the loss compares the output at i with the label at i + 1.
        position_ids: int64[n].
        segment_ids: int32[n], from 1.
        cu_seqlens: int32[S+1], 0 and the running sum of the segments' lengths.
    """
    ids = tokens.astype(np.int64)
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    labels = ids.copy()
    positions = np.arange(len(ids))
    if attention == "document":
        labels[ends[:-1]] = NO_LABEL
        positions -= np.repeat(ends[:-1], lengths)
    return {
        "input_ids": ids,
        "labels": labels,
        "position_ids": positions,
        "segment_ids": np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths),
        "cu_seqlens": ends.astype(np.int32),
    }


def denoised_sample(
    tokens: NDArray[Any], lengths: Int64s, key: int, mixture: Mixture, attention: Attention
) -> dict[str, NDArray[Any]]:
    """As :func:`sample`, of the window's examples after denoising: each is a segment, and only targets are labels."""
    made = corrupt(tokens, lengths, key, mixture)
    found = sample(made.tokens, np.diff(made.offsets), attention)
    found["labels"][~made.is_target] = NO_LABEL
    return found


_FILL = {"labels": NO_LABEL, "position_ids": 0, "segment_ids": 0}


def padded(arrays: dict[str, NDArray[Any]], size: int, pad: int) -> dict[str, NDArray[Any]]:
    """The sample filled up to ``size`` tokens: with ``pad``, no label, position 0, segment 0. ``cu_seqlens`` stays."""
    found = {}
    for name, values in arrays.items():
        found[name] = values
        if name != "cu_seqlens":
            found[name] = np.empty(size, values.dtype)
            _fill(found[name], values, _FILL.get(name, pad))
    return found


def _fill(row: NDArray[Any], values: NDArray[Any], rest: int) -> None:
    row[: len(values)] = values
    row[len(values) :] = rest


def batch(samples: list[dict[str, NDArray[Any]]], pad: int, width: int = 0) -> dict[str, NDArray[Any]]:
    """Samples, at least one, as rows [B, n] of ``width`` or of the longest of them.

    Returns:
        What :func:`sample` has, with a leading axis; but cu_seqlens: int32[k], those of all rows laid end to end
        (``input_ids.reshape(-1)``), the padding of a row as a sequence of its own; and max_seqlen: int32, the longest.
    """
    size = max(width, *(len(one["input_ids"]) for one in samples))
    found: dict[str, NDArray[Any]] = {}
    for name in samples[0]:
        if name != "cu_seqlens":
            found[name] = np.empty((len(samples), size), samples[0][name].dtype)
            for row, one in zip(found[name], samples, strict=True):
                _fill(row, one[name], _FILL.get(name, pad))
    bounds = [one["cu_seqlens"] + np.int32(size * i) for i, one in enumerate(samples)]
    ends = np.append(np.concatenate(bounds), np.int32(size * len(samples)))
    found["cu_seqlens"] = np.unique(ends)
    found["max_seqlen"] = np.array(np.diff(found["cu_seqlens"]).max(), np.int32)
    return found
