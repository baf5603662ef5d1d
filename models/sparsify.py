"""Any network made sparse: its linear layers and convolutions are replaced by sparse ones."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
from torch import nn

from models.allocation import erdos_renyi_kernel, uniform, whole_counts
from models.connections import Connections, random_connections
from models.layers import SparseConv2d, SparseLayer, SparseLinear
from models.layers.sparse import count_for
from models.networks.shapes import LayerShape
from models.types import Storage

_ALLOCATIONS = {"uniform": uniform, "erk": erdos_renyi_kernel}


def sparsify(
    module: nn.Module,
    densities: float | Mapping[str, float],
    *,
    allocation: Literal["uniform", "erk"] = "uniform",
    keep_dense: Sequence[str] = (),
    generator: torch.Generator | None = None,
    storage: Storage = "auto",
) -> nn.Module:
    """A copy of `module` whose `nn.Linear` and `nn.Conv2d` are sparse, with uniformly random connections.

    The weights that stay, biases, device and type are the module's; subclasses of the two layers are left alone.

    densities   one density of all weights that become sparse: round(density * total) in all, at least one in each
                layer; or one for each named layer, the others staying as they are
    allocation  how one density is spread over the layers: the same in each, or ERK
    keep_dense  names of layers that one density leaves as they are

    Raises: ValueError for a density outside (0, 1], a name that is no such layer, a convolution with groups or with a
            padding other than zeros, or a weight that several modules share.
    """
    result = copy.deepcopy(module)
    found = {name: part for name, part in result.named_modules() if type(part) in (nn.Linear, nn.Conv2d)}
    prunable = cast(dict[str, nn.Linear | nn.Conv2d], found)
    _check_names(prunable, (*keep_dense, *(densities if isinstance(densities, Mapping) else ())))
    counts = _counts(prunable, densities, allocation, keep_dense)
    _check_own(result, {name: prunable[name] for name in counts})
    sparse = {name: _sparse(prunable[name], count, generator, storage) for name, count in counts.items()}
    return _replaced(result, {id(prunable[name]): layer for name, layer in sparse.items()})


def _check_names(prunable: Mapping[str, nn.Module], names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in prunable]
    if unknown:
        raise ValueError(f"layer: {unknown[0]!r} is not allowed; it must be one of {', '.join(prunable)}")
    if not prunable:
        raise ValueError("the module has neither nn.Linear nor nn.Conv2d to make sparse")


def _counts(
    prunable: Mapping[str, nn.Linear | nn.Conv2d],
    densities: float | Mapping[str, float],
    allocation: Literal["uniform", "erk"],
    keep_dense: Sequence[str],
) -> dict[str, int]:
    """Connections of each layer that becomes sparse."""
    if isinstance(densities, Mapping):
        if keep_dense:
            raise ValueError("keep_dense is not allowed with a density for each layer; leave out the layers to keep")
        return {name: count_for(density, prunable[name].weight.numel()) for name, density in densities.items()}
    if allocation not in _ALLOCATIONS:
        raise ValueError(f"allocation: {allocation!r} is not allowed; it must be one of {', '.join(_ALLOCATIONS)}")
    layers = [LayerShape(name, tuple(layer.weight.shape)) for name, layer in prunable.items() if name not in keep_dense]
    limits = [layer.total for layer in layers]
    targets = [share * limit for share, limit in zip(_ALLOCATIONS[allocation](layers, densities), limits, strict=True)]
    counts = whole_counts(targets, limits, count_for(densities, sum(limits)), floors=[1 for _ in layers])
    return {layer.name: count for layer, count in zip(layers, counts, strict=True)}


def _check_own(module: nn.Module, layers: Mapping[str, nn.Linear | nn.Conv2d]) -> None:
    holders = Counter(id(parameter) for part in module.modules() for parameter in part.parameters(recurse=False))
    for name, layer in layers.items():
        if holders[id(layer.weight)] > 1:
            raise ValueError(f"{name}: its weight belongs to another module too, which would lose it")
        if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"):
            found = f"groups={layer.groups}, padding_mode={layer.padding_mode!r}"
            raise ValueError(f"{name}: {found} is not allowed; a sparse convolution has one group and zero padding")


def _sparse(
    layer: nn.Linear | nn.Conv2d, count: int, generator: torch.Generator | None, storage: Storage
) -> SparseLayer:
    """A sparse layer with `count` of the weights of `layer`, its bias, device, type and mode."""
    connections = random_connections(tuple(layer.weight.shape), count, generator)
    made = _empty(layer, connections, storage).to(layer.weight)
    made.assign(layer.weight.detach().flatten()[connections.positions.to(layer.weight.device)])
    made.parameter.requires_grad_(layer.weight.requires_grad)
    made.bias = cast(nn.Parameter | None, layer.bias)
    return made.train(layer.training)


def _empty(layer: nn.Linear | nn.Conv2d, connections: Connections, storage: Storage) -> SparseLayer:
    bias = layer.bias is not None
    # Its first weights are about to be replaced: their noise must come from no stream of the caller's.
    noise = torch.Generator()
    if isinstance(layer, nn.Linear):
        sizes = (layer.in_features, layer.out_features)
        return SparseLinear(*sizes, bias=bias, storage=storage, generator=noise, connections=connections)
    return SparseConv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        bias=bias,
        storage=storage,
        generator=noise,
        connections=connections,
    )


def _replaced(module: nn.Module, sparse: Mapping[int, SparseLayer]) -> nn.Module:
    """The module with each layer of these ids replaced, wherever it appears."""
    for part in module.modules():
        for name, child in part._modules.items():
            part._modules[name] = sparse.get(id(child), child)
    return sparse.get(id(module), module)
