"""Networks that read a text character by character and say after each which one comes next."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal, Self, cast

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn import functional

from models.connections import Connections
from models.layers import (
    Dropout,
    SparseEmbedding,
    SparseGRU,
    SparseLinear,
    SparseLSTM,
    SparseRecurrent,
    initialise,
)
from models.networks.shapes import LayerShape, recurrent_layers, scaled_width
from models.streams import Reader
from models.types import Count, Momentum, Storage, setting

CELLS: dict[str, type[SparseRecurrent]] = {"lstm": SparseLSTM, "gru": SparseGRU}


@setting
class LanguageModel:
    """An embedding, gated recurrent layers, a decoder: `embedding`, `lstm1.input`, `lstm1.recurrent`, ..., `output`.

    embedding  features of a character
    units      of each recurrent layer
    tied       the decoder's weights, connections and all, are the embedding's (Press and Wolf 2017, arXiv 1608.05859):
               there is no layer `embedding`; the last layer has as many units as the embedding has features
    dropout    of what leaves the embedding and each recurrent layer
    """

    kind: Literal["language_model"] = "language_model"
    cell: Literal["lstm", "gru"] = "lstm"
    embedding: Count = 64
    units: Annotated[tuple[Count, ...], MinLen(1)] = (128,)
    tied: bool = False
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tied and self.embedding != self.units[-1]:
            raise ValueError(
                f"LanguageModel.embedding: {self.embedding} is not allowed with tied: true; it must be "
                f"{self.units[-1]}, the units of the last layer"
            )

    def layers(self, input_shape: tuple[int, ...], classes: int) -> tuple[LayerShape, ...]:
        """Multiply-adds are those of a window; a look-up in the embedding counts once for it."""
        if len(input_shape) != 1:
            raise ValueError(f"a language model reads windows of a text, not inputs of shape {input_shape}")
        [steps] = input_shape
        table = () if self.tied else (LayerShape("embedding", (classes, self.embedding)),)
        gated = recurrent_layers(self.cell, CELLS[self.cell].gates, (self.embedding, *self.units), steps)
        return (*table, *gated, LayerShape("output", (classes, self.units[-1]), positions=steps))

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage = "auto",
    ) -> nn.Module:
        network, given = CharacterByCharacter(), iter(connections)

        def drop(name: str) -> None:
            if self.dropout:
                network.add_module(f"{name}_dropout", Dropout(self.dropout, generator))

        if not self.tied:
            table = SparseEmbedding(
                classes, self.embedding, storage=storage, generator=generator, connections=next(given)
            )
            network.add_module("embedding", table)
        drop("embedding")
        for number, (below, units) in enumerate(pairwise((self.embedding, *self.units)), start=1):
            own = next(given), next(given)
            layer = CELLS[self.cell](below, units, storage=storage, generator=generator, connections=own)
            network.add_module(f"{self.cell}{number}", layer)
            drop(f"{self.cell}{number}")
        output = SparseLinear(self.units[-1], classes, storage=storage, generator=generator, connections=next(given))
        initialise(output, "linear", generator)
        network.add_module("output", output)
        return network

    def scaled(self, factor: float) -> Self:
        units = tuple(scaled_width(each, factor) for each in self.units)
        return replace(self, embedding=scaled_width(self.embedding, factor), units=units)


class CharacterByCharacter(Reader):
    """Embedding, recurrent layers over all steps, decoder; the embedding's table is the decoder's, if it has none."""

    def forward(self, codes: Tensor) -> Tensor:
        """int64 [n, T] -> [n, classes, T]: for each character what may come after it."""
        *parts, output = self.children()
        if isinstance(parts[0], SparseEmbedding):
            sequence = parts.pop(0)(codes)
        else:
            sequence = functional.embedding(codes, cast(SparseLinear, output).weight)
        states: list[tuple[Tensor, ...]] = []
        for part in parts:
            if isinstance(part, SparseRecurrent):
                sequence, state = part(sequence, self.before(len(states), len(codes)))
                states.append(state)
            else:
                sequence = part(sequence)
        self.remember(states)
        return cast(Tensor, output(sequence).transpose(1, 2))
