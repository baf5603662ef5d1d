"""Residual networks for small images: CIFAR's, of depth 6n + 2. He, Zhang, Ren and Sun 2016, arXiv 1512.03385, 4.2."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import nn

from models.connections import Connections
from models.layers import BatchNorm2d, Dropout, SparseConv2d, SparseLinear, activation, initialise
from models.networks.resnet_module import GlobalAverage, ResidualNetwork, Shortcut, Step
from models.networks.shapes import LayerShape, scaled_width
from models.networks.stack import Activation
from models.types import Count, Momentum, Storage, setting


@setting
class ResNet:
    """A 3x3 convolution, three stages of n residual blocks of two 3x3 convolutions, global average pooling, `output`.

    depth     6n + 2 layers with weights
    channels  of the stages, each no fewer than before; as published by default. All of them times one factor make a
              wide residual network (Zagoruyko and Komodakis 2016, arXiv 1605.07146)
    blocks    which of the 3n blocks are there; one that is not is its shortcut alone. None: all
    dropout   between the two convolutions of each block, as in wide residual networks

    Shortcuts have no weights: the identity, or at a new stage every second pixel and further channels of zeros.
    """

    kind: Literal["resnet"] = "resnet"
    depth: Count = 8
    channels: tuple[Count, Count, Count] = (16, 32, 64)
    blocks: tuple[bool, ...] | None = None
    activation: Activation = "relu"
    batch_norm: bool = True
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.depth < 8 or self.depth % 6 != 2:
            raise ValueError(f"depth: {self.depth} is not allowed; it must be 6n + 2: 8, 14, 20, ...")
        if list(self.channels) != sorted(self.channels):
            raise ValueError(f"channels: {list(self.channels)} is not allowed; no stage may have fewer than one before")
        if self.blocks is not None and len(self.blocks) != self.depth // 2 - 1:
            raise ValueError(
                f"blocks: {len(self.blocks)} values are not allowed; depth {self.depth} has {self.depth // 2 - 1} "
                "residual blocks, each needs one"
            )

    @property
    def absent(self) -> frozenset[str]:
        """The names of the layers that blocks switched off would have."""
        off = [block.number for block in self._blocks() if not block.on]
        return frozenset(f"block{number}_conv{conv}" for number in off for conv in (1, 2))

    @property
    def spare(self) -> tuple[int, ...]:
        """The numbers of the blocks around which the shortcut is the identity: all but those that begin a stage."""
        return tuple(block.number for block in self._blocks() if block.stride == 1 and block.into == block.out)

    def layers(self, input_shape: tuple[int, ...], classes: int) -> tuple[LayerShape, ...]:
        if len(input_shape) != 3:
            raise ValueError(f"a residual network needs images (channels, height, width), not {input_shape}")
        channels, *size = input_shape
        first = self.channels[0]
        found = [_shape("conv1", channels, first, size)]
        for block in self._blocks():
            size = [-(-side // block.stride) for side in size]
            if block.on:
                found.append(_shape(f"block{block.number}_conv1", block.into, block.out, size))
                found.append(_shape(f"block{block.number}_conv2", block.out, block.out, size))
        return (*found, LayerShape("output", (classes, self.channels[2])))

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage = "auto",
    ) -> nn.Module:
        shapes = self.layers(input_shape, classes)
        active = {shape.name: each for shape, each in zip(shapes, connections, strict=True)}
        modules: dict[str, nn.Module] = {}

        def add_convolution(name: str, stride: int = 1) -> tuple[str, ...]:
            """The layer and its norm; their names."""
            found = self._convolution(active[name], stride, generator, storage)
            named = dict(zip((name, f"{name}_norm"), found, strict=False))
            modules.update(named)
            return tuple(named)

        def add_activation(name: str, channels: int) -> str:
            modules[f"{name}_activation"] = activation(self.activation, channels)
            return f"{name}_activation"

        steps = [Step((*add_convolution("conv1"), add_activation("conv1", self.channels[0])))]
        for block in self._blocks():
            shortcut = Shortcut(block.stride, block.out)
            if not block.on:
                steps.append(Step((), shortcut))
                continue
            one, two = (f"block{block.number}_conv{number}" for number in (1, 2))
            inner = (*add_convolution(one, block.stride), add_activation(one, block.out))
            if self.dropout:
                modules[f"{one}_dropout"] = Dropout(self.dropout, generator)
                inner += (f"{one}_dropout",)
            inner += add_convolution(two)
            steps.append(Step(inner, shortcut, add_activation(two, block.out)))
        modules["pool"] = GlobalAverage()
        modules["output"] = _output(active["output"], generator, storage)
        steps.append(Step(("pool", "output")))
        return ResidualNetwork(modules, steps)

    def scaled(self, factor: float) -> Self:
        first, second, third = self.channels
        channels = (scaled_width(first, factor), scaled_width(second, factor), scaled_width(third, factor))
        return replace(self, channels=channels)

    def _convolution(
        self, active: Connections, stride: int, generator: torch.Generator, storage: Storage
    ) -> Iterator[nn.Module]:
        channels, into, *_ = active.shape
        layer = SparseConv2d(
            into,
            channels,
            3,
            stride=stride,
            padding=1,
            bias=not self.batch_norm,
            storage=storage,
            generator=generator,
            connections=active,
        )
        initialise(layer, self.activation, generator)
        yield layer
        if self.batch_norm:
            yield BatchNorm2d(channels)

    def _blocks(self) -> Iterator["Block"]:
        each_stage = (self.depth - 2) // 6
        for index in range(3 * each_stage):
            stage, begins = index // each_stage, index % each_stage == 0 and index > 0
            into = self.channels[stage - 1 if begins else stage]
            on = self.blocks is None or self.blocks[index]
            yield Block(index + 1, into, self.channels[stage], 2 if begins else 1, on)


@dataclass(frozen=True)
class Block:
    """A residual block: its number from 1, its channels, and whether its convolutions are there."""

    number: int
    into: int
    out: int
    stride: int
    on: bool


def _output(active: Connections, generator: torch.Generator, storage: Storage) -> SparseLinear:
    classes, features = active.shape
    layer = SparseLinear(features, classes, storage=storage, generator=generator, connections=active)
    initialise(layer, "linear", generator)
    return layer


def _shape(name: str, into: int, out: int, size: Sequence[int]) -> LayerShape:
    height, width = size
    return LayerShape(name, (out, into, 3, 3), positions=height * width)
