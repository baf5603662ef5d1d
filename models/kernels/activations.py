"""What stands between the layers of a perceptron: the activations that compiled training knows, and their slopes."""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel
from models.kernels.exponential import exponential

Array = np.ndarray[Any, Any]

RELU, SIGMOID, ELU, SILU = range(4)


@kernel
def activate(kind: int, z: Array, h: Array) -> None:
    number = z.dtype.type
    z, h = z.ravel(), h.ravel()
    if kind == RELU:
        for n in range(z.size):
            h[n] = z[n] if z[n] > 0 or z[n] != z[n] else number(0)
    elif kind == SIGMOID:
        for n in range(z.size):
            h[n] = number(1) / (number(1) + exponential(-z[n]))
    elif kind == ELU:
        for n in range(z.size):
            h[n] = z[n] if z[n] > 0 else np.expm1(z[n])
    else:
        for n in range(z.size):
            h[n] = z[n] / (number(1) + exponential(-z[n]))


@kernel
def slope(kind: int, z: Array, h: Array, u: Array) -> None:
    """u times the activation's slope, in place; h is what the activation gave (0 for ReLU may also be dropout's)."""
    number = z.dtype.type
    z, h, u = z.ravel(), h.ravel(), u.ravel()
    if kind == RELU:
        for n in range(u.size):
            u[n] = u[n] if h[n] > 0 else number(0)
    elif kind == SIGMOID:
        for n in range(u.size):
            u[n] *= h[n] * (number(1) - h[n])
    elif kind == ELU:
        for n in range(u.size):
            u[n] *= number(1) if h[n] > 0 else h[n] + number(1)
    else:
        for n in range(u.size):
            gate = number(1) / (number(1) + exponential(-z[n]))
            u[n] *= gate * (number(1) + z[n] * (number(1) - gate))
