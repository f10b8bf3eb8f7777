"""Reading a finished shard set into PyTorch: by rank and worker, in an order drawn by hash, from any place in an epoch.

    from curate.torch import ShardDataset, ShardLoader

    dataset = ShardDataset("s3://bucket/shards", rank=rank, world_size=world_size, seed=0)
    loader = ShardLoader(dataset, batch_size=8, num_workers=2)
    for batch in loader:  # one epoch; state_dict() at any time says what has been taken so far
        ...

The Parquet files of the set are read, row group by row group, one ahead of the one in use: a worker holds two decoded
row groups, never a shard. The order of an epoch depends on the seed, the epoch and the set alone
(:mod:`curate.shards.index`). Each rank has one consecutive part of it, and each worker one of the rank's.
"""

from __future__ import annotations

try:
    import torch  # noqa: F401
except ImportError:
    raise ImportError("curate.torch needs PyTorch; install it, or this project with the extra `torch`") from None

from curate.shards.denoise import Mixture, restore
from curate.torch.dataset import ShardDataset, ShardLoader, merge_states
from curate.torch.sets import SetsLoader

__all__ = ["Mixture", "SetsLoader", "ShardDataset", "ShardLoader", "merge_states", "restore"]
