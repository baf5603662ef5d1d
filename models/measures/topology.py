"""How far rewiring has moved the connections, and the connections themselves, to be compared with those of others."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from models.connections import Connections
from models.measures.measure import Trained
from models.networks.shapes import LayerShape, refuse_branches
from models.packing import pack_connections, unpack_connections
from models.topology_distance import Output, nnstd
from models.types import setting

KEPT = "kept"
"""The field of what it found that holds the connections, where they were to be kept."""


@setting
class Topology:
    """output: whether the last layer's units are matched like hidden ones, as published, or fixed; keep: the last
    connections as well, about a bit for each possible one and trial, so that trials can be compared."""

    kind: Literal["topology"] = "topology"
    output: Output = "matched"
    keep: bool = False

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        refuse_branches([layer.weight for layer in layers])

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        last = [layer.connections for layer in trained.run.layers.values()]
        moved = nnstd(trained.first, last, self.output)
        found: dict[str, Any] = {"moved": moved.total, "moved_by_layer": list(moved.layers)}
        return found | {KEPT: [_to_plain(each) for each in last]} if self.keep else found


def kept(found: Mapping[str, Any]) -> list[Connections]:
    """The connections of each layer, out of what the measure found. Raises: KeyError, where they were not kept."""
    return [_from_plain(each) for each in found[KEPT]]


def _to_plain(connections: Connections) -> dict[str, Any]:
    packed = {name: tensor.numpy().tobytes() for name, tensor in pack_connections(connections).items()}
    return {
        "shape": list(connections.shape),
        **{name: base64.b64encode(zlib.compress(content)).decode() for name, content in packed.items()},
    }


def _from_plain(value: Mapping[str, Any]) -> Connections:
    packed = {
        name: torch.frombuffer(
            bytearray(zlib.decompress(base64.b64decode(content))), dtype=torch.uint8 if name == "bits" else torch.int32
        )
        for name, content in value.items()
        if name != "shape"
    }
    return unpack_connections(tuple(value["shape"]), packed)
