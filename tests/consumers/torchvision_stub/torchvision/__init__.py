"""The few names of torchvision that mosaicml-streaming imports, for environments with a CPU build of torch.

The published torchvision does not load beside a CPU build of torch ("operator torchvision::nms does not exist"), and
reading token shards needs none of it.
"""

from . import datasets, transforms

__all__ = ["datasets", "transforms"]
