"""Optimizer state follows its connection: a survivor keeps its own, a new connection starts with none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.averaging import AVERAGE
from models.layers.sparse import SparseLayer
from models.rewired import Rewired
from models.types import StorageKind

Initial = Callable[[dict[str, Any], Tensor], Tensor | float]

_ZEROS: Mapping[str, Initial] = {}
_INITIAL: dict[type[torch.optim.Optimizer], Mapping[str, Initial]] = {
    torch.optim.SGD: _ZEROS,
    torch.optim.Adam: _ZEROS,
    torch.optim.AdamW: _ZEROS,
    torch.optim.NAdam: _ZEROS,
    torch.optim.RAdam: _ZEROS,
    torch.optim.Adamax: _ZEROS,
    torch.optim.Adadelta: _ZEROS,
    torch.optim.RMSprop: _ZEROS,
    torch.optim.Adagrad: {"sum": lambda group, parameter: float(group["initial_accumulator_value"])},
    torch.optim.Rprop: {"step_size": lambda group, parameter: float(group["lr"])},
    torch.optim.ASGD: {"ax": lambda group, parameter: parameter},  # the average of one value is the value
}
"""What each optimizer starts an element of a state with, where that is not 0."""

_REFUSED = {
    "Muon": "it orthogonalises the whole update matrix, so no weight has a state of its own",
    "Adafactor": "it keeps sums over rows and columns, which no connection can take along",
    "LBFGS": "its history of whole gradients is meaningless after the connections change",
    "SparseAdam": "it takes sparse gradients only, and these layers have strided ones",
}


def rewire(layers: Sequence[SparseLayer], rewired: Sequence[Rewired | None], optimizer: torch.optim.Optimizer) -> None:
    """Changes connections, weights and optimizer state of the layers: the one place that does.

    rewired  for each layer what a rewiring decided; None leaves the layer as it is

    Raises: TypeError for an optimizer whose state cannot follow a connection.
    """
    _initial(optimizer)  # refuses before anything has changed
    for layer, after in zip(layers, rewired, strict=True):
        if after is None:
            continue
        parameter = layer.parameter
        state = optimizer.state.get(parameter, {})
        kept = {
            name: layer.gather(value, after.survivors)
            for name, value in state.items()
            if is_per_weight(value, parameter)
        }
        layer.rewire(after)
        for name, values in kept.items():
            state[name] = layer.scatter(values, initial_value(optimizer, parameter, name), after.survivors)


def store_as(layer: SparseLayer, kind: StorageKind, optimizer: torch.optim.Optimizer) -> None:
    """Keeps the same weights and optimizer state in this storage, from now on."""
    parameter = layer.parameter
    state = optimizer.state.get(parameter, {})
    kept = {name: layer.gather(value) for name, value in state.items() if is_per_weight(value, parameter)}
    layer.store_as(kind)
    for name, values in kept.items():
        state[name] = layer.scatter(values, initial_value(optimizer, parameter, name))


def initial_value(optimizer: torch.optim.Optimizer, parameter: Tensor, name: str) -> Tensor | float:
    """What `optimizer` starts the elements of the state `name` with: one number for all, or shaped like `parameter`."""
    if name == AVERAGE:
        return parameter.detach()  # the average of one value is the value
    initial = _initial(optimizer).get(name)
    if initial is None:
        return 0.0
    group = next(group for group in optimizer.param_groups if any(each is parameter for each in group["params"]))
    return initial(group, parameter.detach())


def is_per_weight(value: object, parameter: Tensor) -> bool:
    """Whether a state has one element for each weight; a step count, or one factor for all, has not."""
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _initial(optimizer: torch.optim.Optimizer) -> Mapping[str, Initial]:
    kind = type(optimizer)
    if kind in _INITIAL:
        return _INITIAL[kind]
    reason = _REFUSED.get(kind.__name__, "how its state belongs to single weights is not known")
    allowed = ", ".join(known.__name__ for known in _INITIAL)
    raise TypeError(f"optimizer: {kind.__name__} is not allowed with rewiring: {reason}; it must be one of {allowed}")
