"""How tensors lie in memory. Sparse layers leave the batch innermost: [features, batch] behind a transposed view."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64)

Array = np.ndarray[Any, Any]


def is_batch_innermost(x: Tensor) -> bool:
    """Whether the kernels take `x` [batch, features, ...] as it lies: float on the CPU, `x.movedim(0, -1)` contiguous.

    No for a single sample, which lies in torch's own order too, and for an empty tensor.
    """
    dimensions = x.dim()
    if dimensions < 2 or x.stride(0) != 1 or x.dtype not in FLOATS or not x.is_cpu:
        return False
    shape = x.shape
    step = shape[0]
    if step < 2:
        return False
    for dimension in range(dimensions - 1, 0, -1):
        # The stride of a dimension of size 1 says nothing.
        if shape[dimension] != 1 and x.stride(dimension) != step:
            return False
        step *= shape[dimension]
    return step > 0


def batch_innermost(x: Tensor) -> Tensor:
    """`x` of more than one sample where its batch is innermost, else a copy of which that is true."""
    return x if is_batch_innermost(x) else x.movedim(0, -1).contiguous().movedim(-1, 0)


def go_along(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the kernels may take these parameters and buffers together with `x`."""
    return all(other is None or (other.dtype is x.dtype and other.is_cpu) for other in others)


def rows(x: Tensor) -> Array:
    """[features, all the rest * batch] contiguous, of an `x` [batch, features, ...] whose batch is innermost."""
    array: Array = x.detach().numpy()
    if array.ndim == 2:
        return array.T
    return array.transpose(*range(1, array.ndim), 0).reshape(array.shape[1], -1)


def numbers(x: Tensor | None, like: Array) -> Array:
    """Of a parameter or buffer; none where there is none."""
    if x is None:
        return np.empty(0, like.dtype)
    array: Array = x.detach().numpy()
    return array
