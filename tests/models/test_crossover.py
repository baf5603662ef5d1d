"""Which storage a layer is given that leaves it open."""

from pathlib import Path

import pytest
import torch
from small_problem import begin

from models import crossover
from models.connections import random_connections
from models.crossover import BUILT_IN, Crossover
from models.layers import SparseConv2d, SparseLinear
from models.layers.storages import choose
from models.networks import MLP
from models.seeds import generator

MEASURED = Crossover(
    linear=((100, 0.2), (10_000, 0.6)), conv2d=((100, 0.5),), perceptron=((1_000, 0.9), (100_000, 0.5))
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossover, "_in_use", MEASURED)


@pytest.mark.parametrize(
    ("shape", "density", "prefers"),
    [
        ((5, 10), 0.2, True),
        ((5, 10), 0.21, False),
        ((25, 40), 0.39, True),  # halfway between the two sizes on a logarithmic scale
        ((25, 40), 0.41, False),
        ((1000, 1000), 0.6, True),
        ((1000, 1000), 0.61, False),
        ((4, 2, 3, 3), 0.5, True),
        ((4, 2, 3, 3), 0.51, False),
    ],
)
def test_densities_between_measured_sizes_are_interpolated(
    shape: tuple[int, ...], density: float, prefers: bool
) -> None:
    assert MEASURED.prefers_compressed(shape, density) is prefers


@pytest.mark.usefixtures("measured")
def test_layers_left_open_follow_the_measurement() -> None:
    assert SparseLinear(100, 100, density=0.5, generator=generator(0)).storage == "compressed"
    assert SparseLinear(100, 100, density=0.7, generator=generator(0)).storage == "masked"
    assert SparseConv2d(4, 4, 3, density=0.4, generator=generator(0)).storage == "compressed"
    assert SparseConv2d(4, 4, 3, density=0.6, generator=generator(0)).storage == "masked"


def test_a_storage_asked_for_is_given_and_other_devices_get_the_masked_one() -> None:
    sparse = random_connections((300, 300), 90, generator(0))
    assert choose("masked", sparse, torch.device("cpu")) == "masked"
    assert choose("compressed", random_connections((3, 3), 9, generator(0)), torch.device("cpu")) == "compressed"
    assert choose("auto", sparse, torch.device("cpu")) == "compressed"
    assert choose("auto", sparse, torch.device("meta")) == "masked"


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("density", "storage"), [(0.5, "compressed"), (0.99, None)])
def test_a_perceptron_is_compressed_whole_where_that_is_faster(density: float, storage: str | None) -> None:
    run = begin(MLP(widths=(30, 5)), density=density)
    kinds = {layer.storage for layer in run.layers.values()}
    assert kinds == ({storage} if storage else {"masked"})


def test_a_measurement_is_kept_and_read(tmp_path: Path) -> None:
    file = tmp_path / "state" / "crossover.json"
    MEASURED.write(file)
    assert Crossover.read(file) == MEASURED


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"linear": 3, "conv2d": [], "perceptron": []}'])
def test_a_file_that_is_no_measurement_is_refused_by_name(content: str, tmp_path: Path) -> None:
    file = tmp_path / "crossover.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"crossover\.json: not a measured crossover"):
        Crossover.read(file)


def test_the_built_in_numbers_are_densities_at_ascending_sizes() -> None:
    for points in (BUILT_IN.linear, BUILT_IN.conv2d, BUILT_IN.perceptron):
        sizes = [size for size, _ in points]
        assert sizes == sorted(set(sizes))
        assert all(0 <= density <= 1 for _, density in points)
