"""The batches of an epoch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.data.samples import Samples
from models.streams import in_streams


def epoch_batches(samples: Samples, batch_size: int, order: torch.Generator) -> Sequence[Tensor]:
    """int64 [...] each: all samples, drawn anew; of a text the next window of every stream."""
    if samples.in_order:
        return in_streams(len(samples), batch_size)
    return torch.split(torch.randperm(len(samples), generator=order), batch_sizes(len(samples), batch_size))


def batch_sizes(samples: int, batch_size: int, in_order: bool = False) -> list[int]:
    """Whole batches and a last partial one; a single left-over sample joins the last, as batch norm needs two.

    in_order  windows of a text, whose last may stand alone
    """
    sizes = [batch_size] * (samples // batch_size)
    left_over = samples % batch_size
    if left_over == 1 and sizes and not in_order:
        sizes[-1] += 1
    elif left_over:
        sizes.append(left_over)
    return sizes
