"""Where the connections of a network start: the topology is shown what it may see, and asked where it has a choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.connections import Connections
from models.data.samples import Split
from models.layers import sparse_layers
from models.losses import loss_function
from models.networks import AnyNetwork
from models.recipe import Loss
from models.seeds import generator
from models.topologies import AnyTopology, Scoring
from models.untrained import Untrained


@dataclass(frozen=True, eq=False)
class Placed:
    """connections of each layer; values [nnz]: the weights to start from, None for the network's own."""

    connections: tuple[Connections, ...]
    values: tuple[Tensor, ...] | None = None


def place(
    topology: AnyTopology,
    network: AnyNetwork,
    counts: Sequence[int],
    loss: Loss,
    split: Split,
    seed: int,
    data_dir: Path | None = None,
) -> Placed:
    """Exactly counts[l] connections in layer l, the scored weights with them where the topology keeps those.

    Full layers that the network keeps dense leave no choice, and nothing does where every layer is full: topologies are
    not asked there, so that what they dictate or refuse holds for sparse layers alone.

    Raises: ValueError where the topology cannot place these counts in these layers
    """
    layers = network.layers(split.input_shape, split.classes)
    full = {layer.name for layer, count in zip(layers, counts, strict=True) if count == layer.total}
    if len(full) == len(layers):
        return Placed(tuple(Connections.full(layer.weight) for layer in layers))
    left_out = full.intersection(network.keep_dense)
    seen = untrained(topology, network, loss, split, seed, data_dir)
    seen = replace(seen, layers=tuple(layer for layer in layers if layer.name not in left_out))
    asked = [count for layer, count in zip(layers, counts, strict=True) if layer.name not in left_out]
    found = iter(topology(seen, asked, generator(seed, "topology")))
    placed = tuple(Connections.full(layer.weight) if layer.name in left_out else next(found) for layer in layers)
    return Placed(placed, _scored_values(seen, placed) if _keeps_values(topology) else None)


def allocate(
    topology: Scoring,
    network: AnyNetwork,
    total: int,
    loss: Loss,
    split: Split,
    seed: int,
) -> tuple[int, ...]:
    """Connections of each layer, `total` together, where the `total` highest scores of the whole network are kept.

    Layers kept dense are full, and their weights count. A layer may be left with none: a score that knows no layers
    can empty one. A point for a density search to start from, and what the topology's authors themselves prune to.

    Raises: ValueError where `total` is out of reach, or there are too few samples to score
    """
    layers = network.layers(split.input_shape, split.classes)
    kept = [layer.name in network.keep_dense for layer in layers]
    seen = untrained(topology, network, loss, split, seed, data_dir=None)
    least = sum(layer.total for layer, dense in zip(layers, kept, strict=True) if dense)
    most = sum(layer.total for layer in layers)
    if not least <= total <= most:
        raise ValueError(f"total: {total} is not allowed; it must be between {least} (layers kept dense) and {most}")
    found = iter(topology.allocate(seen, total - least, generator(seed, "topology")))
    return tuple(layer.total if dense else next(found) for layer, dense in zip(layers, kept, strict=True))


def untrained(
    topology: AnyTopology | Scoring,
    network: AnyNetwork,
    loss: Loss,
    split: Split,
    seed: int,
    data_dir: Path | None,
) -> Untrained:
    """The network that the topology sees, layers kept dense left out.

    Weights that the training keeps are those with which the dense network of this seed would start; weights that are
    drawn again after scoring have a stream of their own.
    """
    layers = network.layers(split.input_shape, split.classes)
    stream = "weights" if _keeps_values(topology) else "scored weights"

    def build() -> nn.Module:
        connections = [Connections.full(layer.weight) for layer in layers]
        return network.build(split.input_shape, split.classes, connections, generator(seed, stream), "masked")

    searched = tuple(layer for layer in layers if layer.name not in network.keep_dense)
    # Scored where it is built, whatever the device of the training: the same connections on each.
    train = split.train.to(torch.device("cpu"))
    return Untrained(searched, train, loss_function(loss, split.classes), data_dir, build)


def _keeps_values(topology: AnyTopology | Scoring) -> bool:
    return isinstance(topology, Scoring) and topology.values == "kept"


def _scored_values(seen: Untrained, placed: Sequence[Connections]) -> tuple[Tensor, ...]:
    weights = [layer.parameter.detach().flatten() for layer in sparse_layers(seen.dense).values()]
    return tuple(weight[active.positions] for weight, active in zip(weights, placed, strict=True))
