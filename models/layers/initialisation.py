"""First weights of a sparse layer: the variance follows the connections that a unit really has."""

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from models.connections import Connections
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
    normal = torch.randn(connections.nnz, generator=generator)
    layer.assign(normal * (_GAINS[activation] / _fan_in(connections).sqrt()))
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)


def initialise_gates(layer: "SparseLayer", units: int, generator: torch.Generator | None) -> None:
    """Uniform on the active fan-in: in ±sqrt(F / (k * units)) for a gate with k of F connections; biases 0.

    So a gate gets sums of the same variance as in a dense layer, whose weights start in torch's ±1 / sqrt(units).

    One uniform number is drawn for each active weight, in position order. Per unit: Evci et al. 2020.
    """
    connections = layer.connections
    bound = (connections.shape[1] / (_fan_in(connections) * units)).sqrt()
    layer.assign(torch.empty(connections.nnz).uniform_(-1, 1, generator=generator) * bound)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)


def scale_for(layer: "SparseLayer", fan_in: int) -> None:
    """First weights as though every unit had `fan_in` connections: those of a dense layer with that many inputs.

    Of the weights that `initialise` has drawn; one connection after another the same normal numbers as in such a layer.
    """
    values = layer.values.detach()
    layer.assign(values * (_fan_in(layer.connections) / fan_in).sqrt().to(values))


def _fan_in(connections: Connections) -> Tensor:
    """int64 [nnz]: how many connections the unit of each has."""
    units = connections.positions // max(connections.total // connections.shape[0], 1)
    return torch.bincount(units, minlength=connections.shape[0])[units]
