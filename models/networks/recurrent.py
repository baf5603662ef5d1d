"""Networks of gated recurrent layers that read their input step by step and answer after the last.

LSTM: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000. GRU: Cho et al. 2014, torch's form.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from models.connections import Connections
from models.layers import Dropout, SparseGRU, SparseLinear, SparseLSTM, SparseRecurrent, initialise
from models.networks.shapes import LayerShape, recurrent_layers, scaled_width
from models.types import Count, Momentum, Storage, setting


class Recurrent(ABC):
    """A vector is read number by number, an image row by row: all channels of a row in one step."""

    kind: str
    units: tuple[int, ...]
    dropout: float
    layer: ClassVar[type[SparseRecurrent]]
    name: ClassVar[str]

    @property
    @abstractmethod
    def keep_dense(self) -> tuple[str, ...]: ...

    def layers(self, input_shape: tuple[int, ...], classes: int) -> tuple[LayerShape, ...]:
        steps, features = steps_of(input_shape)
        gated = recurrent_layers(self.name, self.layer.gates, (features, *self.units), steps)
        return (*gated, LayerShape("output", (classes, self.units[-1])))

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage = "auto",
    ) -> nn.Module:
        network, given = StepByStep(), iter(connections)
        features = steps_of(input_shape)[1]
        for number, (below, units) in enumerate(pairwise((features, *self.units)), start=1):
            own = next(given), next(given)
            layer = self.layer(below, units, storage=storage, generator=generator, connections=own)
            network.add_module(f"{self.name}{number}", layer)
            if self.dropout:
                network.add_module(f"{self.name}{number}_dropout", Dropout(self.dropout, generator))
        output = SparseLinear(self.units[-1], classes, storage=storage, generator=generator, connections=next(given))
        initialise(output, "linear", generator)
        network.add_module("output", output)
        return network

    def scaled(self, factor: float) -> Self:
        units = tuple(scaled_width(each, factor) for each in self.units)
        return cast(Self, replace(cast(Any, self), units=units))


@setting
class LSTM(Recurrent):
    """units: of each layer; dropout: of what leaves a layer. Layers `lstm1.input`, `lstm1.recurrent`, ..., `output`."""

    kind: Literal["lstm"] = "lstm"
    units: Annotated[tuple[Count, ...], MinLen(1)] = (64,)
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    layer: ClassVar[type[SparseRecurrent]] = SparseLSTM
    name: ClassVar[str] = "lstm"


@setting
class GRU(Recurrent):
    """units: of each layer; dropout: of what leaves a layer. Layers `gru1.input`, `gru1.recurrent`, ..., `output`."""

    kind: Literal["gru"] = "gru"
    units: Annotated[tuple[Count, ...], MinLen(1)] = (64,)
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    layer: ClassVar[type[SparseRecurrent]] = SparseGRU
    name: ClassVar[str] = "gru"


class StepByStep(nn.Module):
    """Recurrent layers, each over the whole sequence, then the output layer on what the last step left."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, features] or [n, channels, height, width] -> [n, classes]"""
        sequence = x.movedim(-2, 1).flatten(2) if x.dim() == 4 else x.unsqueeze(-1)
        parts = list(self.children())
        for part in parts[:-1]:
            sequence = part(sequence)[0] if isinstance(part, SparseRecurrent) else part(sequence)
        return cast(Tensor, parts[-1](sequence[:, -1]))


def steps_of(input_shape: tuple[int, ...]) -> tuple[int, int]:
    """Steps, and features of each."""
    if len(input_shape) == 1:
        return input_shape[0], 1
    channels, height, width = input_shape
    return height, channels * width
