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
        x = torch.where(mirrored.to(x.device), x.flip(-1), x)
    return x


def _shift(x: Tensor, largest: int, generator: torch.Generator) -> Tensor:
    n, channels, height, width = x.shape
    padded = F.pad(x, (largest, largest, largest, largest))
    down, right = torch.randint(2 * largest + 1, (2, n, 1), generator=generator).to(x.device)
    rows, columns, image, channel = (torch.arange(each, device=x.device) for each in (height, width, n, channels))
    rows, columns = rows + down, columns + right
    image, channel = image[:, None, None, None], channel[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
