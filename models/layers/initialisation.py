"""First weights of a sparse layer: the variance follows the connections that a unit really has."""

import math
from typing import TYPE_CHECKING, Literal

import torch

from models.layers.activations import Activation

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer

Nonlinearity = Activation | Literal["linear"]

_GAINS: dict[Nonlinearity, float] = {
    "relu": math.sqrt(2),
    "silu": math.sqrt(2),
    "prelu": math.sqrt(2 / (1 + 0.25**2)),  # its first slope on the negative side is .25
    "elu": math.sqrt(2),
    "srelu": math.sqrt(2 / (1 + 0.2**2)),  # and SReLU's .2
    "sigmoid": 1.0,
    "linear": 1.0,
}


def initialise(layer: "SparseLayer", activation: Nonlinearity, generator: torch.Generator | None) -> None:
    """He normal on the active fan-in: standard deviation gain / sqrt(k) for a unit with k connections; biases 0.

    One normal number is drawn for each active weight, in position order. He et al. 2015; per unit: Evci et al. 2020.

    activation  what follows the layer; "linear" where nothing does

    Raises: ValueError for an unknown activation.
    """
    if activation not in _GAINS:
        raise ValueError(f"activation: {activation!r} is not allowed; it must be one of {', '.join(_GAINS)}")
    connections = layer.connections
    units = connections.positions // max(connections.total // connections.shape[0], 1)
    fan_in = torch.bincount(units, minlength=connections.shape[0])
    normal = torch.randn(connections.nnz, generator=generator)
    layer.assign(normal * (_GAINS[activation] / fan_in[units].sqrt()))
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)
