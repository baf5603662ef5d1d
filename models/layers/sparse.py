"""What every sparse layer is, whatever it computes and however its weights are stored."""

import math
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from models.connections import Connections, random_connections
from models.layers.initialisation import initialise
from models.layers.masked import Masked
from models.types import Storage

if TYPE_CHECKING:
    from models.rewiring.rewiring import Rewired


class SparseLayer(nn.Module):
    """A layer whose weight tensor has active and absent connections; biases are always there.

    Its `state_dict` holds `values`, `positions` and `bias`: connections travel with the weights, and can be loaded into
    a layer of the same shape that has others.
    """

    bias: nn.Parameter | None
    stored: Masked

    def __init__(
        self,
        shape: tuple[int, ...],
        density: float,
        bias: bool,
        storage: Storage,
        generator: torch.Generator | None,
        connections: Connections | None,
    ) -> None:
        """Raises: ValueError for a density, storage or connections that are not allowed."""
        super().__init__()
        if storage not in get_args(Storage):
            raise ValueError(f"storage: {storage!r} is not allowed; it must be one of {', '.join(get_args(Storage))}")
        if connections is None:
            connections = random_connections(shape, count_for(density, math.prod(shape)), generator)
        if tuple(connections.shape) != shape:
            raise ValueError(f"connections: shape {tuple(connections.shape)} is not allowed; the layer has {shape}")
        self.stored = Masked(connections)
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        initialise(self, "relu", generator)

    @property
    def connections(self) -> Connections:
        return self.stored.connections

    @property
    def values(self) -> Tensor:
        """[nnz]: the active weights, in position order."""
        return self.stored.gather(self.stored.parameter)

    @property
    def parameter(self) -> nn.Parameter:
        """What the optimizer holds: its shape depends on the storage, its gradient is 0 at absent connections."""
        return self.stored.parameter

    @property
    def weight(self) -> Tensor:
        """[*shape]: the weights, 0 where absent, for modules that read those of an ordinary layer. Not for writing."""
        return self.stored.masked()

    @property
    def storage(self) -> str:
        """The storage in use."""
        return "masked"

    def rewire(self, rewired: "Rewired") -> None:
        """Takes other connections; the weights of survivors stay bit for bit."""
        self.stored.rewire(rewired)

    def carry(self, state: Tensor, rewired: "Rewired", initial: Tensor | float) -> Tensor:
        """Optimizer state after the rewiring: that of survivors bit for bit, `initial` at grown and absent ones.

        state, initial (or one number for all)  shaped like `parameter`
        """
        return self.stored.carry(state, rewired, initial)

    def gather(self, state: Tensor) -> Tensor:
        """[nnz]: what `state`, shaped like `parameter`, holds at the active weights, in position order."""
        return self.stored.gather(state)

    def scatter(self, active: Tensor, elsewhere: Tensor | float = 0.0) -> Tensor:
        """The inverse of `gather`: a tensor shaped like `parameter` with `active` [nnz] at the active weights."""
        return self.stored.scatter(active, elsewhere)

    def assign(self, values: Tensor, connections: Connections | None = None) -> None:
        """Sets the active weights, [nnz] in position order, and first the connections if given."""
        self.stored.replace(connections or self.connections, values)

    def to_dense(self) -> Tensor:
        """[*shape]: a copy of the weights, 0 where absent."""
        return self.stored.dense()

    def count_active(self) -> int:
        """Active connections, counted from what the forward pass uses."""
        return self.stored.count_active()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "values"] = self.values if keep_vars else self.values.detach()
        destination[prefix + "positions"] = self.connections.positions

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        own = (prefix + "values", prefix + "positions")
        missing = [key for key in own if key not in state_dict]
        if missing:
            missing_keys.extend(missing)
        else:
            self._load_weights(state_dict[own[0]], state_dict[own[1]], prefix, error_msgs)
        others = {key: value for key, value in state_dict.items() if key not in own}
        super()._load_from_state_dict(others, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)

    def _load_weights(self, values: Tensor, positions: Tensor, prefix: str, error_msgs: list[str]) -> None:
        try:
            connections = Connections(self.connections.shape, positions.cpu())
        except ValueError as error:
            error_msgs.append(f"{prefix}{error}")
            return
        if tuple(values.shape) != (connections.nnz,):
            error_msgs.append(f"{prefix}values: shape {tuple(values.shape)} for {connections.nnz} positions")
            return
        self.stored.replace(connections, values)


def sparse_layers(module: nn.Module) -> dict[str, SparseLayer]:
    """Every sparse layer of a network by name, in module order."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, SparseLayer)}


def count_for(density: float, total: int) -> int:
    """round(density * total) active connections.

    Raises: ValueError for a density outside (0, 1], or one that leaves none.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density: {density} is not allowed; it must be > 0 and <= 1")
    count = round(density * total)
    if count == 0:
        raise ValueError(f"density: {density} is not allowed; it leaves none of {total} connections")
    return count
