"""Feed-forward stacks: convolutions first, fully connected layers after. Every family here is one of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from models.connections import Connections
from models.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    MaxPool2d,
    SparseConv2d,
    SparseLinear,
    activation,
    initialise,
)
from models.networks.shapes import LayerShape
from models.types import Storage

Activation = Literal["relu", "silu", "prelu", "elu", "srelu", "sigmoid"]


@dataclass(frozen=True)
class Convolution:
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Pool:
    """2x2 max-pooling."""


@dataclass(frozen=True)
class Stack:
    """Each hidden layer: weight, batch norm if asked, activation; dropout after fully connected ones."""

    features: tuple[Convolution | Pool, ...]
    widths: tuple[int, ...]
    activation: Activation
    batch_norm: bool
    dropout: float

    def layers(self, input_shape: tuple[int, ...], classes: int) -> tuple[LayerShape, ...]:
        convolutions, features = self._convolutions(input_shape)
        sizes = (features, *self.widths, classes)
        names = (*(f"fc{n}" for n in range(1, len(sizes) - 1)), "output")
        connected = (
            LayerShape(name, (out, into)) for name, into, out in zip(names, sizes[:-1], sizes[1:], strict=True)
        )
        return (*convolutions, *connected)

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage,
    ) -> nn.Module:
        network = nn.Sequential()
        layers = zip(self.layers(input_shape, classes), connections, strict=True)
        for number, feature in enumerate(self.features, start=1):
            if isinstance(feature, Pool):
                network.add_module(f"pool{number}", MaxPool2d(2))
            else:
                self._add_convolution(network, feature, *next(layers), generator, storage)
        if len(input_shape) > 1:
            network.add_module("flatten", nn.Flatten())
        for shape, active in layers:
            self._add_connected(network, shape, active, generator, storage)
        return network

    def _convolutions(self, input_shape: tuple[int, ...]) -> tuple[list[LayerShape], int]:
        """The convolutions' weights, and how many features leave the last of them."""
        if not self.features:
            return [], math.prod(input_shape)
        if len(input_shape) != 3:
            raise ValueError(f"a convolutional network needs images (channels, height, width), not {input_shape}")
        channels, *size = input_shape
        layers: list[LayerShape] = []
        for feature, after in zip(self.features, _sizes(self.features, size), strict=True):
            if isinstance(feature, Convolution):
                weight = (feature.channels, channels, feature.kernel, feature.kernel)
                layers.append(LayerShape(f"conv{len(layers) + 1}", weight, positions=math.prod(after)))
                channels = feature.channels
            size = after
        return layers, channels * math.prod(size)

    def _add_convolution(
        self,
        network: nn.Sequential,
        feature: Convolution,
        shape: LayerShape,
        active: Connections,
        generator: torch.Generator,
        storage: Storage,
    ) -> None:
        channels, into, kernel, _ = shape.weight
        layer = SparseConv2d(
            into,
            channels,
            kernel,
            stride=feature.stride,
            padding=feature.padding,
            bias=not self.batch_norm,
            storage=storage,
            generator=generator,
            connections=active,
        )
        initialise(layer, self.activation, generator)
        network.add_module(shape.name, layer)
        if self.batch_norm:
            network.add_module(f"{shape.name}_norm", BatchNorm2d(channels))
        network.add_module(f"{shape.name}_activation", activation(self.activation, channels))

    def _add_connected(
        self,
        network: nn.Sequential,
        shape: LayerShape,
        active: Connections,
        generator: torch.Generator,
        storage: Storage,
    ) -> None:
        out, into = shape.weight
        hidden = shape.name != "output"
        normed = hidden and self.batch_norm
        layer = SparseLinear(into, out, bias=not normed, storage=storage, generator=generator, connections=active)
        initialise(layer, self.activation if hidden else "linear", generator)
        network.add_module(shape.name, layer)
        if normed:
            network.add_module(f"{shape.name}_norm", BatchNorm1d(out))
        if hidden:
            network.add_module(f"{shape.name}_activation", activation(self.activation, out))
        if hidden and self.dropout:
            network.add_module(f"{shape.name}_dropout", Dropout(self.dropout, generator))


class Stacked(ABC):
    """A family whose networks are stacks: it says which one, the rest follows."""

    @abstractmethod
    def stack(self) -> Stack: ...

    def layers(self, input_shape: tuple[int, ...], classes: int) -> tuple[LayerShape, ...]:
        return self.stack().layers(input_shape, classes)

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage = "auto",
    ) -> nn.Module:
        return self.stack().build(input_shape, classes, connections, generator, storage)


def _sizes(features: Sequence[Convolution | Pool], size: Sequence[int]) -> Iterator[list[int]]:
    """(height, width) after each of `features`."""
    for number, feature in enumerate(features, start=1):
        before = size
        if isinstance(feature, Pool):
            size = [side // 2 for side in before]
        else:
            size = [(side + 2 * feature.padding - feature.kernel) // feature.stride + 1 for side in before]
        if min(size) < 1:
            raise ValueError(f"images are too small: nothing is left of {before} after step {number} ({feature})")
        yield list(size)
