"""What every sparse layer is, whatever it computes and however its weights are stored."""

import math
from typing import Any, get_args

import torch
from torch import Tensor, nn

from models.connections import Connections, random_connections
from models.layers.initialisation import initialise
from models.layers.storages import STORAGES, choose
from models.layers.stored import Stored
from models.rewired import Rewired
from models.types import Storage, StorageKind


class SparseLayer(nn.Module):
    """A layer whose weight tensor has active and absent connections; biases are always there.

    Its `state_dict` holds `values`, `positions` and `bias`: connections travel with the weights, and can be loaded into
    a layer of the same shape that has others.
    """

    bias: nn.Parameter | None
    stored: Stored

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
        self._asked = storage
        self._store(choose(storage, connections, torch.get_default_device()), connections)
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
        return self.stored.weight()

    @property
    def storage(self) -> StorageKind:
        """The storage in use. Where it was left open, another may be chosen when a rewiring changes the density."""
        return self._storage

    def rewire(self, rewired: Rewired) -> None:
        """Takes other connections; the weights of survivors stay bit for bit."""
        after = rewired.connections
        kept = self.gather(self.parameter.detach(), rewired.survivors)
        values = kept.new_empty(after.nnz)
        here, there = (places.to(kept.device) for places in rewired.places)
        values[here], values[there] = kept, rewired.values.to(kept)
        if after.nnz != self.count_active():
            self.store_as(choose(self._asked, after, self.parameter.device), self._asked)
        self.stored.replace(after, values)

    def gather(self, state: Tensor, positions: Tensor | None = None) -> Tensor:
        """What `state`, shaped like `parameter`, holds at active weights, in position order.

        positions  int64 [k]  some of the active ones, ascending; all by default
        """
        return self.stored.gather(state, positions)

    def scatter(self, values: Tensor, elsewhere: Tensor | float = 0.0, positions: Tensor | None = None) -> Tensor:
        """The inverse of `gather`: a tensor shaped like `parameter`, `values` at these active weights.

        elsewhere  what it holds at all others: one number, or a tensor shaped like `parameter`
        """
        return self.stored.scatter(values, elsewhere, positions)

    def assign(self, values: Tensor, connections: Connections | None = None) -> None:
        """Sets the active weights, [nnz] in position order, and first the connections if given."""
        self.stored.replace(connections or self.connections, values)

    def store_as(self, kind: StorageKind, asked: Storage | None = None) -> None:
        """Keeps the same weights in this storage; the parameter stays the same object, and needs a fresh optimizer.

        asked  what holds from now on: `auto` lets another be chosen when the density changes; by default `kind`
        """
        self._asked = kind if asked is None else asked
        if kind != self.storage:
            connections, values = self.connections, self.values.detach()
            self._store(kind, connections, self.parameter)
            self.stored.replace(connections, values)

    @property
    def asked_storage(self) -> Storage:
        return self._asked

    def to_dense(self) -> Tensor:
        """[*shape]: a copy of the weights, 0 where absent."""
        connections, values = self.connections, self.values.detach()
        dense = values.new_zeros(connections.total)
        dense[connections.positions.to(dense.device)] = values
        return dense.view(connections.shape)

    def count_active(self) -> int:
        """Active connections, counted from what the forward pass uses."""
        return self.stored.count_active()

    def _store(self, kind: StorageKind, connections: Connections, parameter: nn.Parameter | None = None) -> None:
        """The storage from now on, its weights 0. A parameter given stays the same object, and so the optimizer's."""
        self._storage = kind
        self.stored = STORAGES[kind](connections, parameter)

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
