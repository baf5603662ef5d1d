"""Recurrent layers with active and absent connections."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from models.connections import Connections
from models.layers import recurrence
from models.layers.compressed import Compressed
from models.layers.initialisation import initialise_gates
from models.layers.linear import SparseLinear
from models.types import Storage


class SparseRecurrent(nn.Module):
    """One layer of gated units. The gates of a layer stand in one matrix and share its connections: a rewiring may move
    them from gate to gate (cell-gate redistribution, Liu et al., ICML 2021, section 3.2).

    input      SparseLinear, inputs to all gates      [gates * units, inputs]
    recurrent   SparseLinear, last outputs to all gates  [gates * units, units]

    Weights start as torch's, uniform in ±1 / sqrt(units), on the active fan-in: see `initialise_gates`; biases 0.
    """

    gates: ClassVar[int]

    def __init__(
        self,
        inputs: int,
        units: int,
        density: float = 1.0,
        storage: Storage = "auto",
        generator: torch.Generator | None = None,
        connections: tuple[Connections, Connections] | None = None,
    ) -> None:
        """connections  of `input` and `recurrent`, in place of round(density * all) random ones each"""
        super().__init__()
        self.units = units
        below, back = connections or (None, None)
        width = self.gates * units
        self.input = SparseLinear(inputs, width, density, True, storage, generator, below)
        self.recurrent = SparseLinear(units, width, density, True, storage, generator, back)
        for layer in (self.input, self.recurrent):
            initialise_gates(layer, units, generator)

    def forward(self, x: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """[n, T, inputs] -> [n, T, units], and the state after the last step; each of its parts [n, units].

        state  before the first step; 0 by default
        """
        if state is None:
            state = tuple(x.new_zeros(len(x), self.units) for _ in self.parts)
        stored = self.recurrent.stored
        if isinstance(stored, Compressed):
            steps = x.transpose(0, 1)
            below = self.input(steps.reshape(-1, x.shape[-1])).unflatten(0, steps.shape[:2])
            outputs, after = self._by_kernels(below, state, stored)
            return outputs.transpose(0, 1), after
        return self._by_torch(x, state)

    parts: ClassVar[tuple[str, ...]]
    """Of the state."""

    def _by_kernels(
        self, below: Tensor, state: tuple[Tensor, ...], stored: Compressed
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        raise NotImplementedError

    def _by_torch(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        raise NotImplementedError

    def _weights(self) -> list[Tensor]:
        """As torch's own layers have them."""
        below, back = self.input, self.recurrent
        return [below.weight, back.weight, cast(Tensor, below.bias), cast(Tensor, back.bias)]


class SparseLSTM(SparseRecurrent):
    """`nn.LSTM` of one layer, `batch_first`. Gates in torch's order: input, forget, cell, output."""

    gates = 4
    parts = ("hidden", "cell")

    def _by_kernels(
        self, below: Tensor, state: tuple[Tensor, ...], stored: Compressed
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        hidden, cell = state
        bias = cast(Tensor, self.recurrent.bias)
        outputs, last = recurrence.lstm(below, hidden, cell, stored.values, bias, stored.structure)
        return outputs, (outputs[-1], last)

    def _by_torch(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        parts = tuple(part.unsqueeze(0) for part in state)
        outputs, hidden, cell = torch.lstm(x, parts, self._weights(), True, 1, 0.0, self.training, False, True)
        return outputs, (hidden[0], cell[0])


class SparseGRU(SparseRecurrent):
    """`nn.GRU` of one layer, `batch_first`. Gates in torch's order: reset, update, new."""

    gates = 3
    parts = ("hidden",)

    def _by_kernels(
        self, below: Tensor, state: tuple[Tensor, ...], stored: Compressed
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        bias = cast(Tensor, self.recurrent.bias)
        outputs = recurrence.gru(below, state[0], stored.values, bias, stored.structure)
        return outputs, (outputs[-1],)

    def _by_torch(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, hidden = torch.gru(x, state[0].unsqueeze(0), self._weights(), True, 1, 0.0, self.training, False, True)
        return outputs, (hidden[0],)
