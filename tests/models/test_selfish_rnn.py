"""Selfish-RNN's rewiring: exact counts for each matrix, free between its gates."""

import math

import pytest
import torch
from small_problem import begin, classes_in_space

from models.layers import SparseRecurrent
from models.networks import GRU, LSTM, AnyNetwork
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import SET, Moment
from models.rewiring.drop import CosineDrop
from models.seeds import generator
from models.types import Storage

SELFISH = SET(fraction=0.5, removal="magnitude", drop=CosineDrop())


@pytest.mark.parametrize("storage", ["masked", "compressed"])
@pytest.mark.parametrize("network", [LSTM(units=(12, 8)), GRU(units=(12, 8))], ids=lambda each: each.kind)
def test_counts_are_exact_for_each_matrix_and_free_between_its_gates(network: AnyNetwork, storage: Storage) -> None:
    training = Training(epochs=4, batch_size=16, optimizer=SGD(lr=0.5, momentum=0.0))
    run = begin(network, classes_in_space(), training=training, rewiring=SELFISH, storage=storage, density=0.33)
    asked = run.plan.counts
    gates_before = per_gate(run.network)
    assert all(report.nnz == asked for report in run.train())
    gates_after = per_gate(run.network)
    assert [sum(each) for each in gates_after] == [sum(each) for each in gates_before]
    assert gates_after != gates_before


def per_gate(module: torch.nn.Module) -> list[list[int]]:
    """Connections of each gate of each matrix of the recurrent layers."""
    found = []
    for recurrent in module.children():
        if isinstance(recurrent, SparseRecurrent):
            for layer in (recurrent.input, recurrent.recurrent):
                gates = layer.connections.mask().view(recurrent.gates, -1)
                found.append(gates.sum(dim=1).tolist())
    return found


@pytest.mark.parametrize("step", [0, 25, 50, 75])
def test_what_goes_is_the_smallest_of_all_gates_together(step: int) -> None:
    run = begin(LSTM(units=(16,)), density=0.33, rewiring=SELFISH)
    layer = run.layers["lstm1.recurrent"]
    moment = Moment(step=step, steps=100, epoch=1, epochs=10, ends_epoch=True)
    _, [after] = SELFISH(None, [layer], moment, generator(0))
    assert after is not None
    count = math.floor(0.25 * (1 + math.cos(math.pi * step / 100)) * layer.connections.nnz)
    assert len(after.grown) == count == after.connections.nnz - len(after.survivors)
    by_size = layer.values.detach().abs().argsort(descending=True)
    largest = layer.connections.positions[by_size[: layer.connections.nnz - count]]
    assert set(after.survivors.tolist()) == set(largest.tolist())
