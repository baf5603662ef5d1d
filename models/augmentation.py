"""Images moved and mirrored at random, a fresh draw for every batch."""

import torch
from torch import Tensor
from torch.nn import functional as F

from models.recipe import Augmentation


def refuse_vectors(setting: Augmentation, input_shape: tuple[int, ...]) -> None:
    """Raises: ValueError, if images are to be augmented where there are none."""
    if setting != Augmentation() and len(input_shape) != 3:
        raise ValueError(f"augmentation needs images (channels, height, width), not inputs of shape {input_shape}")


def augment(x: Tensor, setting: Augmentation, generator: torch.Generator) -> Tensor:
    """Each image shifted and flipped by its own draw.

    x  [n, channels, height, width]; what moves in is 0: a pixel's mean, where inputs are standardised
    """
    if setting.shift:
        x = _shift(x, setting.shift, generator)
    if setting.flip:
        mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
        x = torch.where(mirrored, x.flip(-1), x)
    return x


def _shift(x: Tensor, largest: int, generator: torch.Generator) -> Tensor:
    n, channels, height, width = x.shape
    padded = F.pad(x, (largest, largest, largest, largest))
    down, right = torch.randint(2 * largest + 1, (2, n, 1), generator=generator)
    rows = torch.arange(height) + down
    columns = torch.arange(width) + right
    image = torch.arange(n)[:, None, None, None]
    channel = torch.arange(channels)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
