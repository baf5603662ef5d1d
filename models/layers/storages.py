"""The storages there are, and which one a layer is given that leaves it open."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from models import crossover
from models.connections import Connections
from models.layers.compressed import Compressed
from models.layers.masked import Masked
from models.layers.stored import Stored
from models.types import Storage, StorageKind

STORAGES: Mapping[StorageKind, Callable[[Connections, nn.Parameter | None], Stored]] = {
    "masked": Masked,
    "compressed": Compressed,
}


def choose(asked: Storage, connections: Connections, device: torch.device) -> StorageKind:
    """What was asked, or for `auto` the one expected to train faster with these connections on this device."""
    if asked != "auto":
        return asked
    if device.type != "cpu":
        return "masked"
    faster = crossover.in_use().prefers_compressed(connections.shape, connections.density)
    return "compressed" if faster else "masked"
