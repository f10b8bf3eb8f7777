"""Functions that streaming.vision names; images are not read here."""


def to_tensor(image):
    """Refuses: there are no images in token shards."""
    raise NotImplementedError("this torchvision is a stub")


def to_pil_image(tensor):
    """Refuses: there are no images in token shards."""
    raise NotImplementedError("this torchvision is a stub")
