import numpy as np
import pytest
import torch
from small_problem import IMAGE, begin, classes_in_space
from torch.nn import functional

from models.layers import sparse_layers
from models.networks import MLP, VGG
from models.seeds import generator
from models.sharpness import sharpness, sharpness_of
from models.training import Run
from models.types import StorageKind


def bowl(x):
    """f = a/2 |x|^2 with a = 2."""
    return float(x @ x), 2 * x


def draw(seed=0):
    return np.random.default_rng(seed)


def trained(storage: StorageKind = "compressed", network=None) -> Run:
    network = network or MLP(widths=(12, 8), batch_norm=True, dropout=0.2, activation="silu")
    shape = IMAGE if isinstance(network, VGG) else (12,)
    run = begin(network, classes_in_space(shape, train=60), storage=storage)
    list(run.train())
    return run


def of(run: Run, **options) -> float:
    return sharpness(run.network, run.split.train, run.loss, generator(3), **options).sharpness


def test_a_bowl_is_as_sharp_as_computed_at_its_bottom_and_on_its_side():
    assert sharpness_of(bowl, np.zeros(10), draw(), 1e-3).sharpness == pytest.approx(1.0e-3)
    assert sharpness_of(bowl, np.ones(10), draw(), 1e-3).sharpness == pytest.approx(0.364, abs=5e-4)
    found = sharpness_of(bowl, np.ones(10), draw(), 1e-3)
    assert (found.loss, found.parameters) == (10, 10)


def test_a_relative_box_does_not_move_what_is_0():
    assert sharpness_of(bowl, np.zeros(10), draw(), 1e-3, adaptive=True).sharpness == 0
    # At 1 the box is half as wide: 1.001 squared instead of 1.002.
    assert sharpness_of(bowl, np.ones(10), draw(), 1e-3, adaptive=True).sharpness == pytest.approx(
        100 * 10 * (1.001**2 - 1) / 11
    )


def test_a_subspace_has_its_own_dimensions_and_is_no_sharper_than_the_box_it_spans():
    basis = draw(1).uniform(-1, 1, (4, 10))
    found = sharpness_of(bowl, np.ones(10), draw(), 1e-3, basis=basis)
    assert found.parameters == 4
    # By hand: the box in coordinates of the normalised rows, whose corners hold the maximum of a convex function.
    inverse = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    box = 1e-3 * (np.abs(inverse @ np.ones(10)) + 1)
    corners = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T * box
    highest = max(bowl(np.ones(10) + np.linalg.pinv(inverse) @ corner)[0] for corner in corners)
    assert found.sharpness == pytest.approx(100 * (highest - 10) / 11, rel=1e-6)


def test_it_grows_with_the_box_and_is_never_negative():
    run = trained()
    found = [of(run, epsilon=epsilon) for epsilon in (1e-4, 1e-3, 1e-2)]
    assert 0 < found[0] < found[1] < found[2]
    assert sharpness_of(lambda x: (-float(x @ x), -2 * x), np.zeros(3), draw(), 1e-3).sharpness == 0


def test_only_active_weights_are_moved_and_counted():
    run = trained()
    found = sharpness(run.network, run.split.train, run.loss, generator(0))
    assert found.parameters == sum(layer.count_active() for layer in run.layers.values())
    run.network.eval()
    outputs = run.network(run.split.train.x)
    assert found.loss == pytest.approx(functional.cross_entropy(outputs, run.split.train.y).item(), rel=1e-5)


@pytest.mark.parametrize("network", [None, VGG(channels=(4, "pool", 6), widths=(8,))])
def test_both_storages_are_equally_sharp(network):
    masked, compressed = trained("masked", network), trained("compressed", network)
    for name, layer in sparse_layers(compressed.network).items():
        masked.layers[name].assign(layer.values.detach())
    masked.network.load_state_dict(compressed.network.state_dict())
    assert of(masked) == pytest.approx(of(compressed), rel=1e-6)


def test_weights_and_modes_are_left_bit_for_bit_and_the_seed_decides():
    run = trained()
    run.network.train()
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    first = of(run)
    assert run.network.training
    assert all(module.training for module in run.network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in run.network.state_dict().items())
    assert all(parameter.grad is None or parameter.dtype == torch.float32 for parameter in run.network.parameters())
    assert of(run) == first


def test_the_gradient_is_the_slope_of_the_loss():
    run = trained()
    from models.sharpness import _data_loss

    objective, x = _data_loss(run.network, run.split.train, run.loss)
    gradient, step = objective(x)[1], 1e-6
    for place in (0, len(x) // 2, len(x) - 1):
        moved = [objective(x + step * sign * np.eye(len(x))[place])[0] for sign in (1, -1)]
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(gradient[place], rel=1e-5, abs=1e-9)
