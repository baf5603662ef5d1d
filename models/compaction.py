"""A smaller network that answers alike: hidden neurons from which nothing leads on are taken out of its tensors."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from models.connections import Connections
from models.layers import SparseLayer, SparseLinear, sparse_layers
from models.layers.activations import SReLU
from models.rewiring.neurons import hidden_layers

Named = tuple[str, nn.Module]


def compact(network: nn.Module) -> nn.Sequential:
    """A copy without hidden neurons that have no connection to the next layer, nor those that only lead to such.

    What it answers in evaluation is the same to rounding. Inputs, outputs and convolutions stay as they are, and of a
    hidden layer at least one neuron does. The copy has no optimizer state: it is for use, not for training on.

    Raises: TypeError, unless the network is a sequence of layers, and what stands between two fully connected ones
    works on each neuron alone
    """
    if not isinstance(network, nn.Sequential):
        raise TypeError(f"network: {type(network).__name__} is not allowed; it must be a Sequential of layers")
    layers = list(sparse_layers(network).values())
    neurons = leading_on([layer.connections for layer in layers])
    return nn.Sequential(OrderedDict(_parts(network, layers, neurons)))


def leading_on(connections: Sequence[Connections]) -> list[Tensor]:
    """bool [out] for each layer: the neurons from which a path of connections leads to an output.

    False only in fully connected hidden layers, and there never for all: where no path is, the first stands for it.
    """
    found = [torch.ones(each.shape[0], dtype=torch.bool) for each in connections]
    for number in reversed(hidden_layers([each.shape for each in connections])):
        after, width = connections[number + 1], connections[number + 1].shape[1]
        positions = after.positions[found[number + 1][after.positions // width]]
        found[number] = torch.zeros(width, dtype=torch.bool)
        found[number][positions % width if len(positions) else 0] = True
    return found


def _parts(network: nn.Sequential, layers: Sequence[SparseLayer], neurons: Sequence[Tensor]) -> Iterator[Named]:
    hidden = hidden_layers([layer.connections.shape for layer in layers])
    before: Tensor | None = None  # the neurons before a part, where some are gone
    for name, part in network.named_children():
        if isinstance(part, SparseLinear):
            number = next(number for number, layer in enumerate(layers) if layer is part)
            inputs = torch.ones(part.in_features, dtype=torch.bool) if before is None else before
            yield name, _smaller_layer(part, neurons[number], inputs)
            before = neurons[number] if number in hidden else None
        else:
            yield name, _copied(part) if before is None else _smaller(name, part, before)


def _smaller_layer(layer: SparseLinear, rows: Tensor, columns: Tensor) -> SparseLinear:
    active, width = layer.connections, layer.in_features
    stays = rows[active.positions // width] & columns[active.positions % width]
    kept = active.positions[stays]
    new_rows, new_columns = rows.cumsum(0) - 1, columns.cumsum(0) - 1
    shape = (int(rows.sum()), int(columns.sum()))
    connections = Connections(shape, new_rows[kept // width] * shape[1] + new_columns[kept % width])
    smaller = SparseLinear(
        shape[1], shape[0], bias=layer.bias is not None, storage=layer.asked_storage, connections=connections
    ).to(layer.values)
    smaller.assign(layer.values.detach()[stays.to(layer.values.device)])
    if layer.bias is not None and smaller.bias is not None:
        smaller.bias.data = layer.bias.detach()[rows.to(layer.bias.device)]
    return smaller.train(layer.training)


def _smaller(name: str, part: nn.Module, neurons: Tensor) -> nn.Module:
    """What works on each neuron alone, for these."""
    smaller = _copied(part)
    if not [*smaller.parameters(), *smaller.buffers()]:
        return smaller
    count = int(neurons.sum())
    match smaller:
        case nn.BatchNorm1d():
            smaller.num_features = count
        case nn.PReLU():
            smaller.num_parameters = count
        case SReLU():
            pass
        case _:
            raise TypeError(f"{name}: {type(part).__name__} is not allowed; how it works on each neuron is not known")
    for tensor in (*smaller.parameters(), *smaller.buffers()):
        if tensor.ndim:  # a count of batches has none
            tensor.data = tensor.detach()[neurons.to(tensor.device)]
    return smaller


def _copied(part: nn.Module) -> nn.Module:
    # A deep copy would copy dropout's random stream, which torch cannot.
    stateless = not [*part.parameters(), *part.buffers()]
    return copy.copy(part) if stateless else copy.deepcopy(part)
