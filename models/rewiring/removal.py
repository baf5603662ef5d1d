"""Which of a layer's weights go: those nearest 0, of each sign or of all. Exact numbers, whatever the ties."""

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from models.connections import top_k
from models.kernels.selection import nearest_zero


def removed_by_sign(values: Tensor, fraction: Fraction | float) -> Tensor:
    """bool [nnz]: the share `fraction`, rounded down, of each sign that is nearest 0, and every value that is 0.

    values  [nnz]  on ties the lower position goes first
    """
    numbers = (values if values.dtype is torch.float64 else values.float()).contiguous().numpy()
    # The decimal that was written: the float nearest .29 is below it and would take 28 of 100.
    share = Fraction(str(fraction))
    positive, negative = (math.floor(share * int(np.count_nonzero(sign))) for sign in (numbers > 0, numbers < 0))
    removed = np.empty(numbers.size, np.bool_)
    nearest_zero(numbers.view(f"u{numbers.itemsize}"), 8 * numbers.itemsize, positive, negative, removed)
    return torch.from_numpy(removed)


def removed_by_magnitude(values: Tensor, count: int) -> Tensor:
    """bool [nnz]: the `count` values nearest 0, whatever their sign.

    values  [nnz]  on ties the lower position goes first; what is no number is not near 0
    """
    removed = torch.zeros(values.numel(), dtype=torch.bool)
    removed[top_k(values.abs().neg().nan_to_num(nan=-math.inf, neginf=-math.inf), count)] = True
    return removed
