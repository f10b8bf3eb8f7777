"""Transforms that streaming.vision names."""

from . import functional


class ToTensor:
    """Stands in for torchvision.transforms.ToTensor; images are not read here."""


__all__ = ["ToTensor", "functional"]
