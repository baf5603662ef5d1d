"""Sparse LSTM and GRU: torch's own under a mask, in either storage."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from models.kernels.recurrent import filled
from models.layers.recurrent import SparseGRU, SparseLSTM, SparseRecurrent
from models.types import Storage

STORAGES: tuple[Storage, Storage] = ("masked", "compressed")
LAYERS = {"lstm": (SparseLSTM, nn.LSTM), "gru": (SparseGRU, nn.GRU)}
# inputs, units, sequences, steps; a vector has 8 numbers, and one vector of sequences and a rest become two; the
# weights of the last are taken in blocks
SHAPES = [(5, 7, 3, 4), (1, 3, 1, 1), (9, 4, 33, 2), (6, 16, 2, 7), (4, 5, 13, 3), (6, 220, 64, 2)]


def pair(kind: str, inputs: int, units: int, density: float, storage: Any) -> tuple[SparseRecurrent, nn.Module]:
    """Ours, and torch's with the same weights, 0 where absent."""
    ours, theirs = LAYERS[kind]
    draw = torch.Generator().manual_seed(3)
    layer = ours(inputs, units, density, storage, draw).double()
    with torch.no_grad():
        for each in (layer.input, layer.recurrent):
            each.bias.normal_(generator=draw)  # type: ignore[union-attr]
    other = theirs(inputs, units, batch_first=True).double()
    with torch.no_grad():
        other.weight_ih_l0.copy_(layer.input.to_dense())
        other.weight_hh_l0.copy_(layer.recurrent.to_dense())
        other.bias_ih_l0.copy_(layer.input.bias)
        other.bias_hh_l0.copy_(layer.recurrent.bias)
    return layer, other


def flat(outputs: Tensor, state: Any) -> Tensor:
    parts = state if isinstance(state, tuple) else (state,)
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    return (outputs * weights).sum() + sum((part**2).sum() for part in parts)


@pytest.mark.parametrize("storage", ["masked", "compressed"])
@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_and_every_gradient_are_torchs(
    kind: str, shape: tuple[int, int, int, int], density: float, storage: str
) -> None:
    inputs, units, sequences, steps = shape
    layer, other = pair(kind, inputs, units, max(density, 1 / (inputs * units)), storage)
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(sequences, steps, inputs, generator=draw, dtype=torch.float64)
    state = [torch.randn(sequences, units, generator=draw, dtype=torch.float64) for _ in layer.parts]
    ours = [x.clone().requires_grad_(), *(part.clone().requires_grad_() for part in state)]
    theirs = [each.detach().clone().requires_grad_() for each in ours]
    y, after = layer(ours[0], tuple(ours[1:]))
    stacked = tuple(part.unsqueeze(0) for part in theirs[1:])
    y_too, after_too = other(theirs[0], stacked if len(stacked) > 1 else stacked[0])
    torch.testing.assert_close(y, y_too)
    for part, part_too in zip(after, after_too if len(stacked) > 1 else (after_too,), strict=True):
        torch.testing.assert_close(part, part_too[0])
    flat(y, after).backward()
    flat(y_too, after_too).backward()
    for mine, other_one in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other_one.grad)
    for sparse, weight, bias in (
        (layer.input, other.weight_ih_l0, other.bias_ih_l0),
        (layer.recurrent, other.weight_hh_l0, other.bias_hh_l0),
    ):
        active = sparse.connections.positions
        torch.testing.assert_close(sparse.gather(sparse.parameter.grad), weight.grad.flatten()[active])
        torch.testing.assert_close(sparse.bias.grad, bias.grad)


@pytest.mark.parametrize("sequences", [8, 20])
@pytest.mark.parametrize("kind", LAYERS)
def test_single_precision_is_as_close_as_its_arithmetic(kind: str, sequences: int) -> None:
    layer, other = pair(kind, 12, 20, 0.3, "compressed")
    layer, other = layer.float(), other.float()
    x = torch.randn(sequences, 15, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x)[0], other(x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("storage", ["masked", "compressed"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_carried_state_continues_the_sequence(kind: str, storage: str) -> None:
    layer, _ = pair(kind, 5, 6, 0.4, storage)
    x = torch.randn(3, 8, 5, dtype=torch.float64)
    whole, end = layer(x)
    first, state = layer(x[:, :5])
    second, end_too = layer(x[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end_too, end)


@pytest.mark.parametrize("kind", LAYERS)
def test_numerical_gradients_agree(kind: str) -> None:
    layer, _ = pair(kind, 3, 4, 0.5, "compressed")
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in layer.parts)
    assert torch.autograd.gradcheck(lambda x, *state: layer(x, state)[0], (x, *state))


@given(sequences=st.integers(1, 2000), itemsize=st.sampled_from([4, 8]))
def test_sequences_are_filled_up_only_where_that_saves_a_pass(sequences: int, itemsize: int) -> None:
    vector = 64 // itemsize
    wide = filled(sequences, itemsize)
    assert sequences <= wide < sequences + vector
    if wide > sequences:
        assert wide % vector == 0
        assert passes(wide, vector) < passes(sequences, vector)


def passes(sequences: int, vector: int, widest: int = 8) -> int:
    """Of a product over so many sequences, each as many vectors wide as are full: 8, 4, 2 or 1; the last one may do
    some again."""
    full, rest = divmod(sequences, vector)
    return full // widest + (full % widest).bit_count() + (rest > 0)


@pytest.mark.parametrize("cell", [SparseLSTM, SparseGRU])
@pytest.mark.parametrize("density", [1.0, 0.2])
def test_first_weights_are_uniform_on_each_gates_own_fan_in(cell: type[SparseRecurrent], density: float) -> None:
    inputs, units = 30, 40
    found: dict[str, list[Tensor]] = {"input": [], "recurrent": []}
    for seed in range(20):
        layer = cell(inputs, units, density, "masked", torch.Generator().manual_seed(seed))
        for name, drawn in found.items():
            matrix = getattr(layer, name)
            weight = matrix.to_dense()
            active = weight.new_zeros(weight.numel()).index_fill(0, matrix.connections.positions, 1).view_as(weight)
            bound = (weight.shape[1] / (active.sum(dim=1, keepdim=True) * units)).sqrt().expand_as(weight)
            drawn.append((weight / bound)[active == 1])
            assert not matrix.bias.any()
    for each in map(torch.cat, found.values()):
        assert each.abs().max() <= 1 + 1e-6
        assert each.abs().max() > 0.99
        assert float(each.var()) == pytest.approx(1 / 3, abs=5 / math.sqrt(each.numel()))
        assert float(each.mean()) == pytest.approx(0, abs=4 / math.sqrt(3 * each.numel()))


@pytest.mark.parametrize("cell", [SparseLSTM, SparseGRU])
def test_first_weights_are_the_same_in_both_storages(cell: type[SparseRecurrent]) -> None:
    masked, compressed = (cell(7, 9, 0.3, storage, torch.Generator().manual_seed(5)) for storage in STORAGES)
    assert torch.equal(masked.input.to_dense(), compressed.input.to_dense())
    assert torch.equal(masked.recurrent.to_dense(), compressed.recurrent.to_dense())


def test_a_dense_layer_starts_within_torchs_bound() -> None:
    layer = SparseLSTM(11, 25, 1.0, "masked", torch.Generator().manual_seed(0))
    for matrix in (layer.input, layer.recurrent):
        assert float(matrix.to_dense().abs().max()) == pytest.approx(1 / 5, rel=0.02)


def test_units_without_connections_are_bias_alone() -> None:
    layer = SparseLSTM(4, 6, 1 / 96, "compressed", torch.Generator().manual_seed(0))
    assert layer.recurrent.connections.nnz < 6
    outputs, _ = layer(torch.zeros(3, 5, 4))
    assert outputs.isfinite().all()
