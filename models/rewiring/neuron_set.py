"""SET that also removes hidden neurons. Liu, Mocanu and Pechenizkiy 2019, arXiv 1906.11626; a reconstruction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from models.connections import top_k
from models.rewiring.neurons import Block, hidden_layers, strength_in, strength_out
from models.rewiring.removal import removed_by_sign
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State
from models.types import Count, Density, Momentum, Share, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@dataclass(frozen=True, eq=False)
class Living:
    """What a training has left.

    neurons  bool [out] for each layer, False for those removed; all True but in hidden fully connected layers
    counts   connections of each layer
    """

    neurons: tuple[Tensor, ...]
    counts: tuple[int, ...]


@setting
class NeuronSET(Rewiring):
    """After each epoch but the last: some hidden neurons go with all their connections, then SET among the living.

    The published text does not give the rule. This one follows the same group's importance pruning (Curci et al. 2021,
    arXiv 2102.01732): of the neurons still alive, the weakest go. Inputs, outputs and convolutions lose none.

    fraction    SET's: share of the weights of each sign that is dropped and regrown
    begin       share of the epochs before the first neurons go
    interval    epochs between two removals of neurons
    at_once     share of a layer's living neurons that goes, rounded up
    most        share of a layer's neurons that may go in all, rounded down
    importance  of a neuron: the sum of the magnitudes of its weights, "in" or "in_and_out"
    budget      "constant": connections freed grow elsewhere in their layer, and no neuron goes for whose layers too
                few places would be left; "shrink": they are gone, and fewer remain than were asked
    """

    kind: Literal["neuron_set"] = "neuron_set"
    fraction: Share = 0.3
    begin: Momentum = 0.1
    interval: Count = 1
    at_once: Density = 0.2
    most: Momentum = 0.5
    importance: Literal["in", "in_and_out"] = "in_and_out"
    budget: Literal["constant", "shrink"] = "constant"

    def due(self, moment: Moment) -> bool:
        return moment.ends_epoch and not moment.last

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        connections = [layer.connections for layer in layers]
        neurons = tuple(torch.ones(each.shape[0], dtype=torch.bool) for each in connections)
        return Living(neurons, tuple(each.nnz for each in connections))

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: State) -> Asked:
        del rewired, moment
        left: Living = state
        return counts if self.budget == "constant" else left.counts

    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        before: Living = state
        neurons = self._thinned(before.neurons, layers) if self._removes_neurons(moment) else before.neurons
        pairs = zip(layers, blocks(layers, neurons), strict=True)
        rewired = [self._rewired(layer, block, generator) for layer, block in pairs]
        counts = zip(rewired, before.counts, strict=True)
        return Living(neurons, tuple(after.connections.nnz if after else count for after, count in counts)), rewired

    def _removes_neurons(self, moment: Moment) -> bool:
        since = moment.epoch - 1 - math.floor(Fraction(str(self.begin)) * moment.epochs)
        return since >= 0 and since % self.interval == 0

    def _thinned(self, before: Sequence[Tensor], layers: Sequence["SparseLayer"]) -> tuple[Tensor, ...]:
        """The neurons that live on: layer after layer, each with what the one before it has left."""
        neurons = list(before)
        for number in hidden_layers([layer.connections.shape for layer in layers]):
            own, alive = layers[number], neurons[number]
            after = layers[number + 1]
            importance = strength_in(own)
            if self.importance == "in_and_out":
                importance += strength_out(after)
            numbers = alive.nonzero().flatten()
            goes = math.ceil(Fraction(str(self.at_once)) * len(numbers))
            stays = max(len(numbers) - goes, self._least(number, layers, neurons))
            neurons[number] = torch.zeros_like(alive)
            neurons[number][numbers[top_k(importance[numbers], stays)]] = True
        return tuple(neurons)

    def _least(self, number: int, layers: Sequence["SparseLayer"], neurons: Sequence[Tensor]) -> int:
        """How many neurons of this hidden layer have to stay; `most` being below 1, at least one."""
        size = len(neurons[number])
        least = size - math.floor(Fraction(str(self.most)) * size)
        if self.budget == "shrink":
            return least
        columns = blocks(layers, neurons)[number].width
        rows = int(neurons[number + 1].sum())
        into, out_of = layers[number].connections.nnz, layers[number + 1].connections.nnz
        return max(least, math.ceil(into / columns), math.ceil(out_of / rows))

    def _rewired(self, layer: "SparseLayer", block: Block, generator: torch.Generator) -> Rewired | None:
        before = layer.connections
        inside = block.holds(before)
        count = int(inside.sum())
        removed = ~inside
        if count < block.total:  # SET leaves a full layer as it is
            removed[inside] = removed_by_sign(layer.values.detach().cpu()[inside], self.fraction)
        stay = before.kept(removed)
        asked = before.nnz if self.budget == "constant" else count
        if stay.nnz == before.nnz:
            return None
        grown = block.sample_absent(stay, asked - stay.nnz, generator)
        return Rewired(stay.grown(grown), grown, torch.zeros(len(grown)))


def blocks(layers: Sequence["SparseLayer"], neurons: Sequence[Tensor]) -> list[Block]:
    """Of each layer, the part between neurons that live."""
    hidden = hidden_layers([layer.connections.shape for layer in layers])
    found = []
    for number, (layer, rows) in enumerate(zip(layers, neurons, strict=True)):
        width = layer.connections.total // layer.connections.shape[0]
        found.append(Block(rows, neurons[number - 1] if number - 1 in hidden else torch.ones(width).bool()))
    return found
