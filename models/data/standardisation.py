"""Mean 0 and standard deviation 1, per feature of a vector and per channel of an image."""

import torch
from torch import Tensor


def standardisation(x: Tensor) -> tuple[Tensor, Tensor]:
    """What to subtract and what to divide by, both [1, features] or [1, channels, 1, 1].

    x  [n, features] or [n, channels, height, width]

    The deviation is the population's. A constant feature is divided by 1.
    """
    dims = [0] if x.dim() == 2 else [0, 2, 3]
    deviation, mean = torch.std_mean(x, dim=dims, correction=0, keepdim=True)
    # compared by its range: a deviation that rounding left above 0 would blow up what is only a constant;
    # the deviation of the tiniest ranges is 0 in float32
    constant = (x.amax(dim=dims, keepdim=True) == x.amin(dim=dims, keepdim=True)) | (deviation == 0)
    return mean, torch.where(constant, torch.ones_like(deviation), deviation)
