"""Hidden units that do nothing: what reaches the next layer from them never varies, or nothing does."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.data.samples import Samples
from models.evaluation import BATCH
from models.layers import SparseLayer
from models.measures.measure import Trained
from models.networks.shapes import LayerShape, refuse_branches
from models.types import setting


@setting
class DeadNeurons:
    """Counts for each hidden layer, neurons or channels, in evaluation mode over the training part.

    silent       what the next sparse layer receives from it is one number, whatever the sample
    no_inputs    no incoming connection
    no_outputs   no outgoing connection
    dead         silent or without outgoing connections

    The layers are taken as a chain, one feeding the next. The definition is ours.
    """

    kind: Literal["dead_neurons"] = "dead_neurons"

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        refuse_branches([layer.weight for layer in layers])

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        run = trained.run
        names, layers = list(run.layers), list(run.layers.values())
        ranges = _ranges(run.network, layers[1:], run.split.train)
        return {
            name: _counted(layer, after, seen)
            for name, layer, after, seen in zip(names, layers, layers[1:], ranges, strict=False)
        }


def _counted(layer: SparseLayer, after: SparseLayer, seen: tuple[Tensor, Tensor]) -> dict[str, int]:
    units = layer.connections.shape[0]
    low, high = (each.view(units, -1) for each in seen)
    silent = (low.amin(1) == high.amax(1)).cpu()
    no_inputs = _degrees(layer, 0, units) == 0
    no_outputs = _degrees(after, 1, units) == 0
    found = {"silent": silent, "no_inputs": no_inputs, "no_outputs": no_outputs, "dead": silent | no_outputs}
    return {"units": units} | {name: int(each.sum()) for name, each in found.items()}


def _degrees(layer: SparseLayer, side: int, units: int) -> Tensor:
    """int64 [units]: connections of each of `units` at the layer's output (side 0) or input (side 1)."""
    connections = layer.connections
    width = connections.total // connections.shape[0]
    if side == 0:
        return torch.bincount(connections.positions // width, minlength=units)
    # A flattened feature map gives several inputs to a unit, a kernel several places.
    return torch.bincount(connections.positions % width // (width // units), minlength=units)


@torch.inference_mode()
def _ranges(network: nn.Module, layers: list[SparseLayer], samples: Samples) -> list[tuple[Tensor, Tensor]]:
    """The least and the greatest input of each of the layers, by feature or channel."""
    network.eval()
    with _watching(layers) as seen:
        for x in torch.split(samples.x, BATCH):
            network(x)
    return [seen[id(layer)] for layer in layers]


@contextmanager
def _watching(layers: list[SparseLayer]) -> Iterator[dict[int, tuple[Tensor, Tensor]]]:
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].reshape(*inputs[0].shape[:2], -1)
        low, high = seen.get(id(layer), (torch.tensor(math.inf), torch.tensor(-math.inf)))
        seen[id(layer)] = (torch.minimum(low, x.amin((0, 2))), torch.maximum(high, x.amax((0, 2))))

    handles = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
