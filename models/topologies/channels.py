"""Links between channels or units, and the weights that belong to them."""

import torch
from torch import Tensor

from models.connections import Connections


def replicated(shape: tuple[int, ...], links: Tensor, each: int) -> Connections:
    """The connections of a weight of which every link owns `each` neighbouring ones: the kernel between two channels.

    links  int64 [k]  flat positions in the matrix [out, in] of channels, ascending
    """
    return Connections(shape, (links[:, None] * each + torch.arange(each)).flatten())
