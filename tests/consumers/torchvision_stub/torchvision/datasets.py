"""Base class that streaming.vision derives from."""


class VisionDataset:
    """Stands in for torchvision.datasets.VisionDataset; images are not read here."""
