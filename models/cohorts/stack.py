"""Networks of one shape as one network over stacked weights."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from models.layers import BatchNorm1d, BatchNorm2d, Dropout, MaxPool2d, SparseConv2d, SparseLinear
from models.layers.activations import SReLU
from models.layers.masked import Masked

_ACTIVATIONS = (nn.ReLU, nn.SiLU, nn.PReLU, nn.ELU, nn.Sigmoid, SReLU)


def can_stack(network: nn.Module) -> bool:
    """Whether it is a sequence of parts known here, its weights masked."""
    return type(network) is nn.Sequential and all(
        type(part) in _FORWARD and (not isinstance(part, SparseLinear | SparseConv2d) or part.storage == "masked")
        for part in network
    )


class Stack:
    """K networks of one family, in training mode. Their parameters and statistics are copied in, and back by `unstack`.

    parameters  [K, ...] by name, as in each network; leaves, for an optimizer
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        """Networks that `can_stack`, built from one setting."""
        self._networks = networks
        named = [dict(network.named_parameters()) for network in networks]
        self.parameters = {
            name: torch.stack([each[name].detach() for each in named]).requires_grad_() for name in named[0]
        }
        buffers = [dict(network.named_buffers()) for network in networks]
        self._statistics = {
            name: torch.stack([each[name] for each in buffers]) for name in buffers[0] if "running_" in name
        }
        self._masks = {
            name: _masks([cast(SparseLinear, network.get_submodule(name)) for network in networks])
            for name, part in networks[0].named_children()
            if isinstance(part, SparseLinear | SparseConv2d)
        }

    def __call__(self, x: Tensor) -> Tensor:
        """[K, n, ...] -> [K, n, classes]: each network's own samples through it."""
        for name, part in self._networks[0].named_children():
            x = _FORWARD[type(part)](self, name, part, x)
        return x

    def unstack(self, steps: int) -> None:
        """Gives each network its own weights and statistics, after so many steps."""
        for k, network in enumerate(self._networks):
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    parameter.copy_(self.parameters[name][k])
                for name, buffer in network.named_buffers():
                    if name in self._statistics:
                        buffer.copy_(self._statistics[name][k])
                    elif name.endswith("num_batches_tracked"):
                        buffer.add_(steps)

    def _weight(self, name: str) -> Tensor:
        weight, mask = self.parameters[f"{name}.stored.dense"], self._masks[name]
        return weight if mask is None else weight * mask

    def _linear(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        weight, bias = self._weight(name).transpose(1, 2), self.parameters.get(f"{name}.bias")
        return x @ weight if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight)

    def _convolution(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        layer = cast(SparseConv2d, part)
        bias = self.parameters.get(f"{name}.bias")
        y = functional.conv2d(
            _side_by_side(x),
            self._weight(name).flatten(0, 1),
            None if bias is None else bias.flatten(),
            layer.stride,
            layer.padding,
            layer.dilation,
            groups=len(x),
        )
        return _apart(y, len(x))

    def _norm(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        norm = cast(nn.BatchNorm1d, part)
        normed = functional.batch_norm(
            _side_by_side(x),
            self._statistics[f"{name}.running_mean"].view(-1),
            self._statistics[f"{name}.running_var"].view(-1),
            self.parameters[f"{name}.weight"].flatten(),
            self.parameters[f"{name}.bias"].flatten(),
            training=True,
            momentum=cast(float, norm.momentum),
            eps=norm.eps,
        )
        return _apart(normed, len(x))

    def _dropout(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        mine = [cast(Dropout, network.get_submodule(name)) for network in self._networks]
        return torch.stack([dropout.factors(each) for dropout, each in zip(mine, x, strict=True)]) * x

    def _pool(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        pool = cast(MaxPool2d, part)
        pooled = functional.max_pool2d(x.flatten(0, 1), pool.kernel_size, pool.stride, pool.padding)
        return pooled.unflatten(0, x.shape[:2])  # type: ignore[no-any-return,no-untyped-call]

    def _flatten(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        return x.flatten(2)

    def _activation(self, name: str, part: nn.Module, x: Tensor) -> Tensor:
        own = {key: self.parameters[f"{name}.{key}"] for key, _ in part.named_parameters()}
        if not own:
            return cast(Tensor, part(x))
        return cast(Tensor, torch.vmap(lambda mine, each: functional_call(part, mine, (each,)))(own, x))


def _masks(layers: Sequence[SparseLinear]) -> Tensor | None:
    """[K, *shape]; None where every connection of all is active."""
    stored = [cast(Masked, layer.stored) for layer in layers]
    if all(each.mask is None for each in stored):
        return None
    return torch.stack([torch.ones_like(each.dense) if each.mask is None else each.mask for each in stored])


def _side_by_side(x: Tensor) -> Tensor:
    """[K, n, features, ...] -> [n, K * features, ...]"""
    return x.transpose(0, 1).flatten(1, 2)


def _apart(x: Tensor, k: int) -> Tensor:
    return x.unflatten(1, (k, -1)).transpose(0, 1)  # type: ignore[no-any-return,no-untyped-call]


_FORWARD: dict[type[nn.Module], Callable[[Stack, str, nn.Module, Tensor], Tensor]] = {
    SparseLinear: Stack._linear,
    SparseConv2d: Stack._convolution,
    BatchNorm1d: Stack._norm,
    BatchNorm2d: Stack._norm,
    Dropout: Stack._dropout,
    MaxPool2d: Stack._pool,
    nn.Flatten: Stack._flatten,
    **dict.fromkeys(_ACTIVATIONS, Stack._activation),
}
