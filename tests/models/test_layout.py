"""Norms, pooling and dropout leave the batch where it lies, and compute what torch's do."""

import copy
import math
import random
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.gradient_flow import probing
from models.layers.batch_norm import BatchNorm1d, BatchNorm2d
from models.layers.dropout import Dropout
from models.layers.layer_norm import LayerNorm
from models.layers.layout import batch_innermost, is_batch_innermost
from models.layers.pool import MaxPool2d
from models.seeds import generator

# This project's layer, torch's, and what a sample of its input looks like.
Case = tuple[nn.Module, nn.Module, tuple[int, ...]]
CASES: dict[str, Callable[[], Case]] = {
    "batch norm": lambda: (BatchNorm1d(5), nn.BatchNorm1d(5), (5,)),
    "batch norm of one feature": lambda: (BatchNorm1d(1), nn.BatchNorm1d(1), (1,)),
    "batch norm, not affine": lambda: (BatchNorm1d(5, affine=False), nn.BatchNorm1d(5, affine=False), (5,)),
    "batch norm, all batches alike": lambda: (BatchNorm1d(5, momentum=None), nn.BatchNorm1d(5, momentum=None), (5,)),
    "batch norm, other settings": lambda: (BatchNorm1d(5, 0.1, 0.5), nn.BatchNorm1d(5, 0.1, 0.5), (5,)),
    "batch norm without statistics": lambda: (
        BatchNorm1d(5, track_running_stats=False),
        nn.BatchNorm1d(5, track_running_stats=False),
        (5,),
    ),
    "batch norm of sequences": lambda: (BatchNorm1d(3), nn.BatchNorm1d(3), (3, 4)),
    "batch norm of images": lambda: (BatchNorm2d(3), nn.BatchNorm2d(3), (3, 4, 5)),
    "batch norm of single pixels": lambda: (BatchNorm2d(3), nn.BatchNorm2d(3), (3, 1, 1)),
    "layer norm": lambda: (LayerNorm(6), nn.LayerNorm(6), (6,)),
    "layer norm without bias": lambda: (LayerNorm(6, bias=False), nn.LayerNorm(6, bias=False), (6,)),
    "layer norm, not affine": lambda: (
        LayerNorm(6, elementwise_affine=False),
        nn.LayerNorm(6, elementwise_affine=False),
        (6,),
    ),
    "layer norm of many features": lambda: (LayerNorm(300, 0.1), nn.LayerNorm(300, 0.1), (300,)),
    "max pooling": lambda: (MaxPool2d(2), nn.MaxPool2d(2), (3, 4, 6)),
    "max pooling with leftovers": lambda: (MaxPool2d(2), nn.MaxPool2d(2), (2, 5, 7)),
    "max pooling, overlapping": lambda: (MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 2, 1), (2, 7, 6)),
    "max pooling, oblong": lambda: (
        MaxPool2d((3, 2), (1, 3), (1, 0)),
        nn.MaxPool2d((3, 2), (1, 3), (1, 0)),
        (2, 5, 8),
    ),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)
INNERMOST = pytest.mark.parametrize("innermost", [True, False], ids=["batch innermost", "row-major"])
MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def innermost_copy(x: Tensor) -> Tensor:
    return x.detach().movedim(0, -1).contiguous().movedim(-1, 0)


def prepared(case: str, training: bool, dtype: torch.dtype) -> Case:
    """The pair with equal parameters and running statistics, none of them trivial."""
    ours, theirs, sample = CASES[case]()
    stream = generator(7)
    state = {
        name: torch.rand(value.shape, generator=stream) + 0.5 if value.is_floating_point() else value
        for name, value in theirs.state_dict().items()
    }
    for layer in (ours, theirs):
        layer.load_state_dict(state)
        layer.to(dtype).train(training)
    return ours, theirs, sample


def input_of(sample: tuple[int, ...], batch: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn((batch, *sample), generator=generator(seed)).to(dtype) * 2 + 1


def results(layer: nn.Module, x: Tensor, direction: Tensor | None = None) -> Iterator[tuple[str, Tensor]]:
    """Outputs, buffers and every gradient. `direction` is what the outputs' gradient is, a random one by itself."""
    x = x.detach().requires_grad_()
    y = layer(x)
    if direction is None:
        direction = torch.randn(y.shape, generator=generator(5)).to(y)
    named = {"input": x, **dict(layer.named_parameters())}
    yield "output", y.detach()
    yield from layer.named_buffers()
    yield from zip(named, torch.autograd.grad(y, list(named.values()), direction), strict=True)


def assert_equal(actual: Iterator[tuple[str, Tensor]], expected: Iterator[tuple[str, Tensor]], error: float) -> None:
    """Up to `error` of the largest number of each tensor, or of 1, the size of the inputs: differences may cancel."""
    for (name, one), (_, other) in zip(actual, expected, strict=True):
        close = {"rtol": 0.0, "atol": error * max(1.0, float(other.detach().abs().max()))}
        torch.testing.assert_close(one.double(), other.double(), **close, msg=lambda text, name=name: f"{name}: {text}")


@EVERY_CASE
@MODES
@pytest.mark.parametrize("batch", [2, 7, 33])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float", "double"])
def test_with_the_batch_innermost_a_layer_equals_torchs(
    case: str, training: bool, batch: int, dtype: torch.dtype, error: float
) -> None:
    ours, theirs, sample = prepared(case, training, dtype)
    theirs.double()
    for seed in (0, 1):
        x = input_of(sample, batch, dtype, seed)
        assert_equal(results(ours, innermost_copy(x)), results(theirs, x.double()), error)


@EVERY_CASE
@MODES
def test_in_row_major_order_a_layer_is_torchs_bit_for_bit(case: str, training: bool) -> None:
    ours, theirs, sample = prepared(case, training, torch.float32)
    x = input_of(sample, 7, torch.float32)
    if is_batch_innermost(x):
        pytest.skip("one feature lies in both orders")
    for (_, one), (_, other) in zip(results(ours, x), results(theirs, x), strict=True):
        assert torch.equal(one, other)


@EVERY_CASE
@MODES
def test_outputs_and_gradients_leave_with_the_batch_innermost_whatever_order_the_gradient_comes_in(
    case: str, training: bool
) -> None:
    ours, _, sample = prepared(case, training, torch.float64)
    x = innermost_copy(input_of(sample, 4, torch.float64)).requires_grad_()
    y = ours(x)
    assert is_batch_innermost(y)
    direction = torch.randn(y.shape, generator=generator(2), dtype=torch.float64)
    for given_gradient in (direction, innermost_copy(direction), direction[:1].expand(y.shape)):
        (gradient,) = torch.autograd.grad(y, x, given_gradient, retain_graph=True)
        assert is_batch_innermost(gradient)
        row_major = given_gradient.contiguous()
        torch.testing.assert_close(gradient, torch.autograd.grad(y, x, row_major, retain_graph=True)[0])


@EVERY_CASE
@MODES
@INNERMOST
def test_gradients_are_the_slopes_of_the_outputs(case: str, training: bool, innermost: bool) -> None:
    ours, _, sample = prepared(case, training, torch.float64)
    if math.prod(sample) > 100:
        pytest.skip("one slope at a time takes long")
    parameters = dict(ours.named_parameters())

    def outputs(x: Tensor, *values: Tensor) -> Tensor:
        x = x.movedim(0, -1).contiguous().movedim(-1, 0) if innermost else x
        replaced = dict(zip(parameters, values, strict=True))
        result: Tensor = torch.func.functional_call(ours, replaced, (x,))
        return result

    x = input_of(sample, 3, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(outputs, (x, *parameters.values()))


@EVERY_CASE
def test_a_layer_keeps_its_bits_from_one_call_to_the_next(case: str) -> None:
    first, _, sample = prepared(case, True, torch.float32)
    second, x = copy.deepcopy(first), innermost_copy(input_of(sample, 50, torch.float32))
    for (_, one), (_, other) in zip(results(first, x), results(second, x), strict=True):
        assert torch.equal(one, other)


@EVERY_CASE
def test_a_second_derivative_is_refused(case: str) -> None:
    ours, _, sample = prepared(case, True, torch.float64)
    x = innermost_copy(input_of(sample, 4, torch.float64)).requires_grad_()
    (gradient,) = torch.autograd.grad(ours(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@EVERY_CASE
def test_layers_are_of_torchs_kind_with_torchs_state(case: str) -> None:
    ours, theirs, _ = CASES[case]()
    assert isinstance(ours, type(theirs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("mean", [0, 1e4, 1e6])
def test_batch_norm_is_exact_for_long_rows_far_from_zero(mean: float) -> None:
    ours, theirs = BatchNorm2d(3), nn.BatchNorm2d(3).double()
    x = innermost_copy(torch.randn(67, 3, 16, 9, generator=generator(0)) + mean)
    # Numbers around 1e6 are 1/16 apart, which is no excuse for what is computed from them.
    assert_equal(results(ours, x), results(theirs, x.double()), 1e-5)


@pytest.mark.parametrize("outlier", [1e3, 1e5])
def test_batch_norm_is_exact_where_the_first_and_last_numbers_lie_far_out(outlier: float) -> None:
    ours, theirs = BatchNorm1d(2), nn.BatchNorm1d(2).double()
    x = torch.randn(4001, 2, generator=generator(0))
    x[0] = x[-1] = outlier
    x = innermost_copy(x)
    ordinary = slice(1, -1)
    torch.testing.assert_close(ours(x)[ordinary].double(), theirs(x.double())[ordinary], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("mean", [100, 1e4, 1e6])
def test_layer_norm_is_exact_far_from_zero(mean: float) -> None:
    ours, theirs = LayerNorm(500), nn.LayerNorm(500).double()
    x = innermost_copy(torch.randn(9, 500, generator=generator(0)) + mean)
    assert_equal(results(ours, x), results(theirs, x.double()), 1e-5)


@pytest.mark.parametrize("make", [lambda: BatchNorm1d(3), lambda: LayerNorm(3)], ids=["batch norm", "layer norm"])
def test_equal_numbers_become_zeros(make: Callable[[], nn.Module]) -> None:
    x = innermost_copy(torch.full((6, 3), 0.1))
    y = make()(x)
    assert is_batch_innermost(y)
    torch.testing.assert_close(y, torch.zeros(6, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("what", [math.nan, math.inf])
@pytest.mark.parametrize("case", ["batch norm", "layer norm"])
def test_norms_show_what_is_not_finite(case: str, what: float) -> None:
    ours, theirs, sample = prepared(case, True, torch.float32)
    x = input_of(sample, 8, torch.float32)
    x[3, 2] = what
    actual, expected = ours(innermost_copy(x)), theirs(x)
    assert torch.equal(actual.isfinite(), expected.isfinite())
    assert bool((~expected.isfinite()).any())


@pytest.mark.parametrize(
    ("make", "x", "error"),
    [
        (lambda: BatchNorm1d(4), torch.ones(1, 4), ValueError),
        (lambda: BatchNorm2d(4), torch.ones(1, 4, 1, 1), ValueError),
        (lambda: BatchNorm1d(4), torch.ones(2, 5), RuntimeError),
        (lambda: BatchNorm1d(4), torch.ones(2, 4, 3, 3), ValueError),
        (lambda: BatchNorm2d(4), torch.ones(2, 4), ValueError),
        (lambda: LayerNorm(4), torch.ones(2, 5), RuntimeError),
        (lambda: BatchNorm1d(4).double(), torch.ones(2, 4), RuntimeError),
        (lambda: LayerNorm(4).double(), torch.ones(2, 4), RuntimeError),
        (lambda: MaxPool2d(3), torch.ones(2, 4, 2, 5), RuntimeError),
        (lambda: MaxPool2d(3), torch.ones(2, 4, 5, 2), RuntimeError),
        (lambda: MaxPool2d(2, 1, (2, 0)), torch.ones(2, 4, 5, 5), RuntimeError),
        (lambda: MaxPool2d(2, 1, (0, 2)), torch.ones(2, 4, 5, 5), RuntimeError),
        (lambda: MaxPool2d(2), torch.ones(2, 4), RuntimeError),
    ],
)
@INNERMOST
def test_errors_are_torchs(make: Callable[[], nn.Module], x: Tensor, error: type[Exception], innermost: bool) -> None:
    layer = make()
    with pytest.raises(error) as expected:
        super(type(layer), layer).forward(x)  # type: ignore[misc]
    with pytest.raises(error) as actual:
        layer(innermost_copy(x) if innermost else x)
    assert str(actual.value) == str(expected.value)


@pytest.mark.parametrize(
    ("ours", "theirs", "x"),
    [
        (MaxPool2d(2, dilation=2), nn.MaxPool2d(2, dilation=2), torch.ones(2, 3, 6, 6)),
        (MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, ceil_mode=True), torch.ones(2, 3, 5, 5)),
        (MaxPool2d(2, return_indices=True), nn.MaxPool2d(2, return_indices=True), torch.ones(2, 3, 6, 6)),
        (MaxPool2d(17), nn.MaxPool2d(17), torch.ones(2, 3, 20, 20)),
        (MaxPool2d(2), nn.MaxPool2d(2), torch.ones(3, 6, 6)),
        (LayerNorm((3, 4)), nn.LayerNorm((3, 4)), torch.ones(2, 3, 4)),
        (LayerNorm(4), nn.LayerNorm(4), torch.ones(2, 3, 4)),
        (BatchNorm1d(3).bfloat16(), nn.BatchNorm1d(3).bfloat16(), torch.ones(4, 3, dtype=torch.bfloat16)),
        (BatchNorm1d(3), nn.BatchNorm1d(3), torch.ones(4, 3, dtype=torch.bfloat16)),
        (BatchNorm1d(3), nn.BatchNorm1d(3), torch.ones(0, 3)),
        (BatchNorm1d(3).eval(), nn.BatchNorm1d(3).eval(), torch.ones(1, 3)),
    ],
)
def test_what_the_kernels_do_not_serve_is_torchs(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    x = torch.randn(x.shape, generator=generator(0)).to(x.dtype)
    one, other = innermost_copy(x).requires_grad_(), x.clone().requires_grad_()
    actual, expected = ours(one), theirs(other)
    torch.testing.assert_close(actual, expected)
    if isinstance(actual, Tensor) and x.dtype is torch.float32:
        gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y, x in ((actual, one), (expected, other))]
        torch.testing.assert_close(*gradients)


def test_probing_normalises_by_the_batch_and_leaves_running_statistics_alone() -> None:
    network = nn.Sequential(BatchNorm1d(4), BatchNorm1d(4))
    network(innermost_copy(input_of((4,), 8, torch.float32)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = innermost_copy(input_of((4,), 8, torch.float32, seed=3))
    network.eval()
    with probing(network):
        torch.testing.assert_close(network(x).mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


POOLED = st.sampled_from([-1.0, 0.0, 1.0, 1.0, -math.inf, math.inf, math.nan])


@settings(deadline=None)
@given(
    data=st.data(),
    batch=st.integers(2, 5),
    channels=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    room=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    padded=st.tuples(st.booleans(), st.booleans()),
)
def test_max_pooling_chooses_as_torch_among_equals_and_nan(
    data: st.DataObject,
    batch: int,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    room: tuple[int, int],
    padded: tuple[bool, bool],
) -> None:
    size = (kernel[0] + room[0], kernel[1] + room[1])
    count = batch * channels * math.prod(size)
    x = torch.tensor(data.draw(st.lists(POOLED, min_size=count, max_size=count))).view(batch, channels, *size)
    padding = (padded[0] * (kernel[0] // 2), padded[1] * (kernel[1] // 2))
    ours, theirs = MaxPool2d(kernel, stride, padding), nn.MaxPool2d(kernel, stride, padding)
    # Whole numbers, each its own, so that overlapping windows add up exactly and a wrong choice shows.
    direction = torch.arange(1.0, theirs(x).numel() + 1).view(theirs(x).shape)
    actual, expected = results(ours, innermost_copy(x), direction), results(theirs, x, direction)
    for (_, one), (_, other) in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(0, 3), min_size=2, max_size=4),
    order=st.randoms(use_true_random=False),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bfloat16]),
)
def test_the_batch_is_innermost_where_moving_it_last_makes_the_tensor_contiguous(
    shape: list[int], order: random.Random, dtype: torch.dtype
) -> None:
    dimensions = list(range(len(shape)))
    order.shuffle(dimensions)
    stored = torch.zeros([shape[dimension] for dimension in dimensions], dtype=dtype)
    x = stored.permute([dimensions.index(dimension) for dimension in range(len(shape))])
    assert list(x.shape) == shape
    lies_so = x.movedim(0, -1).is_contiguous() and shape[0] > 1 and x.numel() > 0
    assert is_batch_innermost(x) == (lies_so and dtype in (torch.float32, torch.float64))


def test_parts_and_repetitions_of_a_tensor_are_not_batch_innermost_until_copied() -> None:
    whole = innermost_copy(torch.randn(6, 4, generator=generator(0)))
    assert is_batch_innermost(whole)
    for x in (whole[::2], whole[:3], whole[:, ::2], torch.ones(6, 1).expand(6, 4), torch.ones(1, 4).expand(6, 4)):
        assert not is_batch_innermost(x)
        assert is_batch_innermost(batch_innermost(x))
        assert torch.equal(batch_innermost(x), x)
    assert batch_innermost(whole) is whole
    assert not is_batch_innermost(innermost_copy(torch.ones(3, 0)))
    assert not is_batch_innermost(torch.ones(6))
    assert not is_batch_innermost(torch.ones(()))
    assert not is_batch_innermost(torch.ones(6, 4, device="meta").t().contiguous().t())


# Dropout -----------------------------------------------------------------------------------------------------------

SHAPES = pytest.mark.parametrize(
    "shape", [(), (7,), (5, 3), (1, 4), (4, 1), (65, 130), (2, 3, 4), (6, 3, 5, 2), (0, 3)]
)


def layouts(x: Tensor) -> list[Tensor]:
    """The same numbers in every order of dimensions forth and back, and spread out."""
    dimensions = range(x.dim())
    reversed_order = x.permute(*reversed(dimensions)).contiguous().permute(*reversed(dimensions)) if x.dim() else x
    spread = torch.stack([x, torch.zeros_like(x)], dim=-1)[..., 0]
    innermost = innermost_copy(x) if x.dim() else x
    last = [x.contiguous(memory_format=torch.channels_last)] if x.dim() == 4 else []
    return [x, innermost, reversed_order, spread, *last]


@SHAPES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_drops_the_same_units_however_input_and_gradient_lie(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape, generator=generator(0), dtype=dtype)
    dy = torch.randn(shape, generator=generator(1), dtype=dtype)
    kept = Dropout(0.4, generator(3))(torch.ones(shape, dtype=dtype))
    for one in layouts(x):
        for other in layouts(dy):
            leaf = one.detach().requires_grad_()
            y = Dropout(0.4, generator(3))(leaf)
            (gradient,) = torch.autograd.grad(y, leaf, other)
            assert torch.equal(y, x * kept)
            assert torch.equal(gradient, dy * kept)


def test_dropout_leaves_the_batch_where_it_lies() -> None:
    for shape in ((5, 3), (5, 3, 2, 4)):
        for x in (torch.ones(shape), innermost_copy(torch.ones(shape))):
            leaf = x.requires_grad_()
            y = Dropout(0.5, generator(0))(leaf)
            (gradient,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
            assert y.stride() == gradient.stride() == x.stride()


@pytest.mark.parametrize("innermost", [True, False])
def test_dropouts_gradient_is_the_slope_of_its_output(innermost: bool) -> None:
    dropout = Dropout(0.3, generator(0))
    state = dropout.generator.get_state()

    def outputs(x: Tensor) -> Tensor:
        dropout.generator.set_state(state)
        dropped: Tensor = dropout(x.movedim(0, -1).contiguous().movedim(-1, 0) if innermost else x)
        return dropped

    assert torch.autograd.gradcheck(outputs, torch.randn(4, 6, dtype=torch.float64, requires_grad=True))


def test_dropout_refuses_a_second_derivative_and_shows_what_is_not_finite() -> None:
    dropout = Dropout(0.5, generator(0))
    x = torch.ones(4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(dropout(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    assert bool(dropout(torch.full((4, 4), math.nan)).isnan().all())


def test_dropout_takes_one_number_from_its_stream_at_each_call_whatever_the_size() -> None:
    small, large = Dropout(0.5, generator(1)), Dropout(0.5, generator(1))
    small(torch.ones(3))
    large(torch.ones(500, 20))
    assert torch.equal(small.generator.get_state(), large.generator.get_state())
    assert small.seed() == large.seed()
    assert torch.equal(small.generator.get_state(), large.generator.get_state())
    state = small.generator.get_state()
    first, second = small(torch.ones(50, 4)), small(torch.ones(50, 4))
    small.generator.set_state(state)
    assert torch.equal(small(torch.ones(50, 4)), first)
    assert not torch.equal(first, second)


def test_dropout_of_nothing_and_in_evaluation_returns_its_input_and_takes_no_number() -> None:
    x = torch.ones(3, 3)
    for dropout in (Dropout(0, generator(0)), Dropout(0.5, generator(0)).eval()):
        state = dropout.generator.get_state()
        assert dropout(x) is x
        assert torch.equal(dropout.generator.get_state(), state)


def test_dropout_of_other_types_draws_from_its_stream_too() -> None:
    dropped = Dropout(0.25, generator(0))(torch.ones(100, 100, dtype=torch.bfloat16))
    assert dropped.dtype == torch.bfloat16
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def dropped_units(p: float, shape: tuple[int, ...], calls: int = 1, seed: int = 0) -> Tensor:
    """[calls, *shape] 1 where dropped, less p, in units of its standard deviation."""
    dropout = Dropout(p, generator(seed))
    dropped = torch.stack([dropout(torch.ones(shape)) for _ in range(calls)]) == 0
    return (dropped.double() - p) / math.sqrt(p * (1 - p))


@pytest.mark.parametrize("p", [0.001, 0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(400, 1000), (400000,), (100, 16, 25, 10)])
def test_dropout_drops_the_share_it_is_asked_for(p: float, shape: tuple[int, ...]) -> None:
    assert abs(float(dropped_units(p, shape, calls=2).mean())) < 5 / math.sqrt(2 * math.prod(shape))
    kept = Dropout(p, generator(0))(torch.ones(shape)).max()
    assert float(kept) == pytest.approx(1 / (1 - p))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_units_independently_of_their_neighbours_in_every_direction(p: float) -> None:
    units = dropped_units(p, (512, 512))[0]
    for rows in (0, 1, 2, 3, 7, 8, 16, 64, 128, 256):
        for columns in (-256, -64, -16, -2, -1, 0, 1, 2, 3, 8, 16, 32, 128, 256):
            if rows or columns > 0:
                products = units * units.roll((rows, columns), (0, 1))
                assert abs(float(products.mean())) < 5 / 512, (rows, columns)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_treats_samples_units_and_calls_as_strangers_to_each_other(p: float) -> None:
    units = dropped_units(p, (128, 250), calls=120)
    for groups in (units.flatten(1), units[0], units[0].T, units[:, 0], units[:, :, 0]):
        count, length = groups.shape
        correlations = groups @ groups.T / math.sqrt(length)
        apart = correlations[~torch.eye(count, dtype=torch.bool)]
        # Each is standard normal where groups are independent; every pair is there twice.
        assert float(apart.abs().max()) < 7
        kurtosis = (1 / (p * (1 - p)) - 4) / groups.numel()
        assert float(apart.square().mean()) == pytest.approx(1, abs=6 * math.sqrt(4 / apart.numel() + 4 * kurtosis))
        # How many each group drops spreads as the binomial does.
        totals = groups.sum(dim=1) / math.sqrt(length)
        assert float(totals.square().mean()) == pytest.approx(1, abs=6 * math.sqrt(2 / count))


def test_dropout_drops_a_sample_unlike_the_unit_of_its_number() -> None:
    units = dropped_units(0.5, (300, 300))[0]
    across = (units * units.T)[torch.ones(300, 300).triu(1) == 1]
    assert abs(float(across.mean())) < 5 / math.sqrt(across.numel())
