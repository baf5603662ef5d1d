"""The gradient of a batch's loss by every weight of a layer, those of absent connections included.

A layer's own gradient is 0 where a connection is absent. What the others' would be follows from what went into the
layer and from the gradient by what came out; both are kept while a batch is watched, and nothing is computed before it
is read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from models.layers import SparseConv2d, SparseLayer

BLOCK = 2**22
"""Weights whose gradients are in memory at once; a row of more is a block of its own."""


class DenseGradient:
    """Of one layer and one batch, in blocks of whole rows: a layer of any size takes the memory of a block."""

    def __init__(self, layer: SparseLayer) -> None:
        self._layer = layer
        self._passes: list[tuple[Tensor, Tensor]] = []  # a layer may be used more than once

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The gradient [k] of whole rows, and the flat position of its first weight; rows in their order."""
        shape = self._layer.connections.shape
        width = self._layer.connections.total // shape[0]
        rows = max(1, BLOCK // width)
        for begin in range(0, shape[0], rows):
            end = min(begin + rows, shape[0])
            each = [self._of_rows(x, outputs[:, begin:end]).cpu() for x, outputs in self._passes]
            block = sum(each[1:], each[0]) if each else torch.zeros(end - begin, *shape[1:])
            yield begin * width, block.flatten()

    def whole(self) -> Tensor:
        """[*shape]: all of it at once, as much memory as the dense layer."""
        blocks = [block for _, block in self.blocks()]
        return (torch.cat(blocks) if len(blocks) > 1 else blocks[0]).view(self._layer.connections.shape)

    def watch(self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        """A forward hook."""
        x = inputs[0].detach()

        def keep(gradient: Tensor) -> None:
            self._passes.append(self._as_batch(x, gradient.detach()))

        outputs.register_hook(keep)  # type: ignore[no-untyped-call]

    def _as_batch(self, x: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(self._layer, SparseConv2d):
            return (x, outputs) if x.dim() == 4 else (x.unsqueeze(0), outputs.unsqueeze(0))
        return x.reshape(-1, x.shape[-1]), outputs.reshape(-1, outputs.shape[-1])

    def _of_rows(self, x: Tensor, outputs: Tensor) -> Tensor:
        layer = self._layer
        if not isinstance(layer, SparseConv2d):
            return outputs.t() @ x
        padding = layer.padding
        if isinstance(padding, str):
            x, padding = functional.pad(x, _sides(layer) if padding == "same" else (0, 0, 0, 0)), (0, 0)
        shape = (outputs.shape[1], *layer.connections.shape[1:])
        gradient: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            x, shape, outputs, layer.stride, padding, layer.dilation
        )
        return gradient


@contextmanager
def watching(layers: Sequence[SparseLayer]) -> Iterator[list[DenseGradient]]:
    """The gradient of each layer for what goes forward and backward inside."""
    gradients = [DenseGradient(layer) for layer in layers]
    hooks = [layer.register_forward_hook(gradient.watch) for layer, gradient in zip(layers, gradients, strict=True)]
    try:
        yield gradients
    finally:
        for hook in hooks:
            hook.remove()


def _sides(layer: SparseConv2d) -> tuple[int, int, int, int]:
    """Left, right, top, bottom; where the two cannot be equal, the second has one more."""
    down, along = (by * (places - 1) for by, places in zip(layer.dilation, layer.kernel_size, strict=True))
    return (along // 2, along - along // 2, down // 2, down - down // 2)
