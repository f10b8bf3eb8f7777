"""Batches of a shard set from any number of workers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader

from curate.base.errors import RequestError
from curate.shards import epochs
from curate.torch.dataset import ShardDataset


class ShardLoader:
    """Batches of a dataset from any number of workers, and the place in the epoch that goes with what was handed out.

    A loop over it is what is left of the present epoch; at its end the next epoch begins. :meth:`state_dict` may be
    taken between any two batches: batches that workers have made, but that were not handed out, come again.

    Args:
        dataset: what to read; the loader keeps its place.
        batch_size: windows of a batch. At the end of the epoch each worker has a smaller one, unless the number of its
            windows can be divided by it or ``drop_last`` leaves it out.
        num_workers: processes that read; 0 reads in this one.
        options: further ones of ``torch.utils.data.DataLoader``.
    """

    def __init__(self, dataset: ShardDataset, batch_size: int, num_workers: int = 0, **options: Any) -> None:
        if options.get("persistent_workers"):
            raise RequestError("persistent workers would not learn of the next epoch; leave `persistent_workers` out")
        self.dataset = dataset
        self._options = {"collate_fn": dataset.collate, "batch_size": batch_size, "num_workers": num_workers, **options}

    @property
    def epoch(self) -> int:
        """The present epoch, from 0."""
        return self.dataset.epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.dataset.begin(max(1, self._options["num_workers"]))
        for found in DataLoader(self.dataset, **self._options):
            self.dataset.advance(found["ordinal"].tolist())
            yield found
        self.dataset.set_epoch(self.dataset.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """As :meth:`ShardDataset.state_dict`: everything but the batches that were handed out."""
        return self.dataset.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As :meth:`ShardDataset.load_state_dict`."""
        self.dataset.load_state_dict(state)


def merge_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state for any number of ranks, from those of all ranks: what none of them has taken.

    Raises:
        RequestError: the states are not those of every rank of one job in one epoch.
    """
    heads = {json.dumps({**state, "rank": None, "worker": None, "left": None}, sort_keys=True) for state in states}
    ranks = sorted(state["rank"] if state["rank"] is not None else -1 for state in states)
    if len(heads) != 1 or ranks != list(range(states[0]["world_size"])):
        raise RequestError("give the states of every rank of one job, all of the same epoch")
    left = epochs.joined((a, b) for state in states for part in state["left"] for a, b in part)
    return {**states[0], "rank": None, "worker": None, "left": [[list(one) for one in left]]}
