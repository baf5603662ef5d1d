"""Connections from files: what they hold, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_problem import IMAGE, begin, classes_in_space
from untrained_problem import shapes

from models import checkpoint
from models.connections import random_connections
from models.networks import MLP, VGG
from models.placement import place
from models.recipe import Training
from models.rewiring import SET
from models.seeds import generator
from models.topologies import Given
from models.training import start

LAYERS = shapes((16, 12), (10, 16), (3, 10), names=("fc1", "fc2", "output"))


def positions(count: int = 9) -> dict[str, np.ndarray]:
    return {layer.name: random_connections(layer.weight, count, generator(5)).positions.numpy() for layer in LAYERS}


def test_positions_of_an_archive_are_where_training_starts(tmp_path: Path) -> None:
    held = positions()
    np.savez(tmp_path / "mine.npz", **{name: each.astype(np.uint16) for name, each in held.items()})
    split = classes_in_space()
    topology = Given(file="mine.npz")
    assert topology.counts(LAYERS, tmp_path) == (9, 9, 9)
    run = start(MLP(widths=(16, 10)), (9, 9, 9), topology, SET(), Training(epochs=1), split, 0, data_dir=tmp_path)
    for name, layer in run.layers.items():
        assert layer.connections.positions.tolist() == held[name].tolist()
    with pytest.raises(ValueError, match=r"given dictates \[9, 9, 9\]"):
        start(MLP(widths=(16, 10)), (9, 9, 8), topology, SET(), Training(epochs=1), split, 0, data_dir=tmp_path)


@pytest.mark.parametrize("network", [MLP(widths=(16, 10)), VGG(channels=(4, "pool"), widths=(64,))], ids=["mlp", "vgg"])
@pytest.mark.parametrize("density", [0.02, 0.5])
def test_connections_of_a_checkpoint_are_taken_over(network: MLP | VGG, density: float, tmp_path: Path) -> None:
    split = classes_in_space(IMAGE if network.kind == "vgg" else (12,))
    run = begin(network, split, density, training=Training(epochs=1))
    list(run.train())
    checkpoint.save(run, tmp_path / "run.safetensors")
    placed = place(Given(file="run.safetensors"), network, run.plan.counts, "mse", split, 0, tmp_path)
    assert [each.hash() for each in placed.connections] == [each.connections.hash() for each in run.layers.values()]


def test_a_checkpoint_of_other_shapes_is_refused(tmp_path: Path) -> None:
    checkpoint.save(begin(MLP(widths=(10, 16))), tmp_path / "run")
    message = r"fc1 has shape \[10, 12\] in 'run'; this network's has shape \[16, 12\]"
    with pytest.raises(ValueError, match=message):
        Given(file="run").counts(LAYERS, tmp_path)
    with pytest.raises(ValueError, match="conv1 is not in 'run'"):
        Given(file="run").counts(shapes((4, 2, 3, 3), names=("conv1",)), tmp_path)


@pytest.mark.parametrize("name", ["../outside.npz", "/etc/passwd", "folder/../../outside.npz", "link.npz"])
def test_a_path_never_leaves_the_data_directory(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    np.savez(tmp_path / "outside.npz", **positions())
    (inside / "link.npz").symlink_to(tmp_path / "outside.npz")
    with pytest.raises(ValueError, match=r"^file: .* must be a path inside the data directory"):
        Given(file=name).counts(LAYERS, inside)


def test_without_a_data_directory_nothing_is_read() -> None:
    with pytest.raises(ValueError, match="no data directory is given"):
        Given(file="mine.npz").counts(LAYERS, None)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("sprung"),))


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "trap.npz", fc1=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="pickled objects"):
        Given(file="trap.npz").counts(LAYERS, tmp_path)
    torch.save({"fc1": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"neither a \.npz nor a checkpoint"):
        Given(file="trap.pt").counts(LAYERS, tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fc2": None}, "has no positions of fc2; it holds fc1, output"),
        ({"fc1": np.array([3, 2])}, "fc1 of 'mine.npz': positions must be ascending"),
        ({"fc1": np.array([2, 2])}, "positions must be ascending, each once"),
        ({"fc1": np.array([-1, 2])}, r"-1..2 is not allowed"),
        ({"fc1": np.array([1, 192])}, r"1..192 is not allowed"),
        ({"fc1": np.array([0.5])}, "it must be whole numbers"),
        ({"fc1": np.ones((16, 12), int)}, "it must be whole numbers"),
        ({"fc1": np.array([], int)}, "has no connections"),
    ],
)
def test_positions_that_are_none_are_refused(
    changed: dict[str, np.ndarray | None], message: str, tmp_path: Path
) -> None:
    held = {name: each for name, each in (positions() | changed).items() if each is not None}
    np.savez(tmp_path / "mine.npz", **held)
    with pytest.raises(ValueError, match=message):
        Given(file="mine.npz").counts(LAYERS, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x80\x04K\x01."])
@pytest.mark.parametrize("name", ["damaged.npz", "damaged"])
def test_files_of_another_kind_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"not a \.npz archive|neither a \.npz nor a checkpoint"):
        Given(file=name).counts(LAYERS, tmp_path)


@pytest.mark.parametrize(
    "run", ["no JSON", "[]", '{"plan": {}}', '{"plan": {"network": {"kind": "of another program"}}}']
)
def test_checkpoints_of_another_program_are_refused(run: str, tmp_path: Path) -> None:
    save_file({}, tmp_path / "other", {"run": run})
    with pytest.raises(ValueError, match=r"neither a \.npz nor a checkpoint"):
        Given(file="other").counts(LAYERS, tmp_path)


@pytest.mark.parametrize(
    "packed",
    [
        {},
        {"bits": torch.zeros(23, dtype=torch.uint8)},
        {"bits": torch.zeros(24)},
        {"rows": torch.ones(16).int()},
        {"rows": torch.ones(16).int(), "columns": torch.zeros(15).int()},
        {"rows": torch.ones(15).int(), "columns": torch.zeros(15).int()},
        {"rows": torch.tensor([-1, *[1] * 15]).int(), "columns": torch.zeros(14).int()},
        {"rows": torch.ones(16).int(), "columns": torch.full((16,), 12).int()},
    ],
    ids=lambda packed: "-".join(f"{name}{len(each)}" for name, each in packed.items()),
)
def test_damaged_connections_of_a_checkpoint_are_refused(packed: dict[str, torch.Tensor], tmp_path: Path) -> None:
    checkpoint.save(begin(), tmp_path / "run")
    with safe_open(tmp_path / "run", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if "/fc1/" not in name}  # noqa: SIM118
        metadata = file.metadata()
    save_file(tensors | {f"connections/fc1/{name}": each for name, each in packed.items()}, tmp_path / "bad", metadata)
    with pytest.raises(ValueError, match="the connections of fc1 in 'bad' are damaged"):
        Given(file="bad").counts(LAYERS, tmp_path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match="it must be a file, not a folder"):
        Given(file="folder.npz").counts(LAYERS, tmp_path)
