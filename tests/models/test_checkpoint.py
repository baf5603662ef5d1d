import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from small_problem import IMAGE, begin, classes_in_space, measured, same_state

from models import checkpoint
from models.checkpoint import CheckpointError, load, save
from models.connections import Connections, random_connections
from models.networks import LSTM, MLP, VGG, AnyNetwork, ResNet
from models.optimizers import SGD, Adam, AnyOptimizer
from models.packing import pack, pack_connections, unpack, unpack_connections
from models.recipe import Augmentation, Training
from models.rewiring import DSR, SET, AnyRewiring, RigL, SparseMomentum
from models.rewiring.drop import LinearDrop
from models.schedules import AnySchedule, Cosine
from models.seeds import generator
from models.settings import from_plain, to_plain
from models.topologies import AnyTopology
from models.training import Plan, Run
from models.types import kind_of, members

MLP_WITH_ALL = MLP(widths=(16, 10), batch_norm=True, dropout=0.3, activation="srelu")
CNN_WITH_ALL = VGG(channels=(4, "pool", 6), widths=(8,), batch_norm=True, dropout=0.3)
MOMENTUM = Training(epochs=4, batch_size=16, optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=1e-3))
ADAM = Training(epochs=4, batch_size=16, optimizer=Adam(lr=0.01), schedule=Cosine(warm_up=0.2))
MOVED = replace(ADAM, augmentation=Augmentation(shift=1, flip=True))
EVERY = SET(fraction=0.4, every=4, grown="normal")
CASES: dict[str, tuple[AnyNetwork, Training, AnyRewiring]] = {
    "mlp-momentum": (MLP(widths=(16, 10)), MOMENTUM, SET()),
    "mlp-adam-all": (MLP_WITH_ALL, ADAM, EVERY),
    "lstm-adam": (LSTM(units=(6,), dropout=0.2), ADAM, SET(every=3)),
    "vgg-momentum": (VGG(channels=(4, 6), stride=2, widths=(8,)), MOMENTUM, SET(last_epoch="prune_only")),
    "vgg-adam-all": (CNN_WITH_ALL, MOVED, EVERY),
    "resnet-momentum": (ResNet(channels=(4, 8, 16), dropout=0.2), MOMENTUM, EVERY),
    "vgg-adam-all-rigl": (CNN_WITH_ALL, MOVED, RigL(every=5)),
    "vgg-adam-all-dsr": (CNN_WITH_ALL, MOVED, DSR(every=5, threshold=0.05)),
    "mlp-adam-all-momentum": (MLP_WITH_ALL, ADAM, SparseMomentum(every=5)),
    "mlp-unfired": (MLP(widths=(16, 10)), MOMENTUM, SET(every=5, drop=LinearDrop(), growth="unfired")),
}


def of(case: str) -> Run:
    network, training, rewiring = CASES[case]
    split = classes_in_space((12,) if "mlp" in case else IMAGE)
    return begin(network, split, training=training, rewiring=rewiring)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each case trained by half here, and by the other half in one other process."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for case in CASES:
        run = of(case)
        list(islice(run.train(), 2))
        save(run, folder / f"{case}.half")
    root = Path(checkpoint.__file__).parents[1]
    program = [sys.executable, str(Path(__file__).with_name("resume.py")), str(folder)]
    subprocess.run(program, check=True, env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"})
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_run_resumed_in_another_process_ends_as_if_never_stopped(case: str, resumed: Path) -> None:
    whole = of(case)
    list(whole.train())
    other = load(resumed / f"{case}.resumed", whole.split)
    # Saved and loaded too, so that both show the same at absent connections, where optimizer state means nothing.
    save(whole, resumed / f"{case}.whole")
    assert same_state(load(resumed / f"{case}.whole", whole.split), other)
    assert [each.connections.hash() for each in whole.layers.values()] == [
        each.connections.hash() for each in other.layers.values()
    ]
    assert all(
        torch.equal(a.to_dense(), b.to_dense())
        for a, b in zip(whole.layers.values(), other.layers.values(), strict=True)
    )
    assert measured(whole) == measured(other)
    assert whole.gradient_flow == other.gradient_flow
    assert all(
        torch.equal(stream.get_state(), other.streams[name].get_state()) for name, stream in whole.streams.items()
    )


@pytest.mark.parametrize("optimizer", [member() for member in members(AnyOptimizer)], ids=lambda each: each.kind)
def test_every_optimizer_goes_on_bit_for_bit(optimizer: Any, tmp_path: Path) -> None:
    training = Training(epochs=4, batch_size=16, optimizer=optimizer)
    whole, half = (begin(training=training, rewiring=EVERY, density=0.3) for _ in range(2))
    list(whole.train())
    list(islice(half.train(), 2))
    save(half, tmp_path / "half")
    other = load(tmp_path / "half", half.split)
    list(other.train())
    assert measured(whole) == measured(other)
    for one, two in zip(whole.layers.values(), other.layers.values(), strict=True):
        assert one.connections.hash() == two.connections.hash()
        assert torch.equal(one.to_dense(), two.to_dense())
        memories = [run.optimizer.state[layer.parameter] for run, layer in ((whole, one), (other, two))]
        assert set(memories[0]) == set(memories[1])
        for name, value in memories[0].items():
            seen = [
                each.gather(memory[name]) if value.ndim else memory[name]
                for each, memory in zip((one, two), memories, strict=True)
            ]
            assert torch.equal(*seen), name
    biases = [[run.optimizer.state[layer.bias] for layer in run.layers.values()] for run in (whole, other)]
    assert all(torch.equal(ours[name], theirs[name]) for ours, theirs in zip(*biases, strict=True) for name in ours)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    run = of("vgg-adam-all")
    list(islice(run.train(), 3))
    save(run, tmp_path / "run")
    loaded = load(str(tmp_path / "run"), run.split)
    assert loaded.plan == run.plan
    assert loaded.epoch == 3
    assert loaded.reports == run.reports
    assert loaded.evaluate() == run.evaluate()


def test_a_run_saved_before_its_first_epoch_starts_from_the_beginning(tmp_path: Path) -> None:
    whole, unborn = of("mlp-adam-all"), of("mlp-adam-all")
    save(unborn, tmp_path / "run")
    loaded = load(tmp_path / "run", unborn.split)
    list(whole.train())
    list(loaded.train())
    assert measured(whole) == measured(loaded)
    assert whole.gradient_flow == loaded.gradient_flow


def test_loading_neither_reads_nor_changes_the_global_random_state(tmp_path: Path) -> None:
    run = of("vgg-adam-all")
    save(run, tmp_path / "run")
    before = torch.get_rng_state()
    load(tmp_path / "run", run.split)
    assert torch.equal(before, torch.get_rng_state())


def test_a_mostly_absent_network_makes_a_small_file(tmp_path: Path) -> None:
    split = classes_in_space((784,), classes=10, train=20, held_out=10)
    training = Training(epochs=1, optimizer=SGD(momentum=0.0))
    run = begin(MLP(widths=(1000, 1000)), split, density=0.1, training=training)
    next(run.train())
    save(run, tmp_path / "run")
    assert (tmp_path / "run").stat().st_size < 2**20


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere", classes_in_space())


@pytest.mark.parametrize("kept", [0, 5, 100, -1], ids=lambda kept: f"{kept} bytes")
def test_a_truncated_file_is_refused_by_name_and_reason(kept: int, tmp_path: Path) -> None:
    run, path = of("mlp-momentum"), tmp_path / "cut.run"
    save(run, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.run: no run can continue from this file: it is truncated"):
        load(path, run.split)


def test_a_foreign_file_is_refused_by_name_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "foreign.run"
    path.write_text("epoch,loss\n1,2.3\n" * 100)
    with pytest.raises(CheckpointError, match=r"foreign\.run: .* no checkpoint"):
        load(path, classes_in_space())
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"foreign\.run: .* its format is None"):
        load(path, classes_in_space())
    save_file({"weight": torch.zeros(2)}, path, {"format": "99", "run": json.dumps({})})
    with pytest.raises(CheckpointError, match=r"its format is 99, and only 3 is read here"):
        load(path, classes_in_space())


def test_a_file_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    run, path = of("mlp-momentum"), tmp_path / "bent.run"
    save(run, path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bent\.run: .* it is damaged"):
        load(path, run.split)


def test_a_file_of_another_owner_is_refused(tmp_path: Path) -> None:
    run = of("mlp-momentum")
    save(run, tmp_path / "run", owner="a")
    assert load(tmp_path / "run", run.split, "a").epoch == 0
    with pytest.raises(CheckpointError, match="it belongs to a, not to b"):
        load(tmp_path / "run", run.split, "b")
    with pytest.raises(CheckpointError, match="it belongs to a, not to nobody"):
        checkpoint.reports(tmp_path / "run")


@pytest.mark.parametrize("epochs", [0, 3])
def test_the_first_connections_are_kept_too(epochs: int, tmp_path: Path) -> None:
    run = of("mlp-momentum")
    list(islice(run.train(), epochs))
    save(run, tmp_path / "run")
    assert [each.hash() for each in load(tmp_path / "run", run.split).first] == [each.hash() for each in run.first]


def test_other_data_are_refused(tmp_path: Path) -> None:
    run = of("mlp-momentum")
    save(run, tmp_path / "run")
    with pytest.raises(CheckpointError, match="it belongs to other data"):
        load(tmp_path / "run", classes_in_space(train=91, held_out=44))


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = of("mlp-momentum")
    save(run, tmp_path / "run")
    before = (tmp_path / "run").read_bytes()
    next(run.train())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(run, tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.booleans())
def test_packed_connections_come_back_from_the_smaller_form(out: int, into: int, density: float, image: bool) -> None:
    shape = (out, into, 3, 3) if image else (out, into)
    total = out * into * (9 if image else 1)
    connections = random_connections(shape, round(density * total), generator(0, "connections"))
    packed = pack_connections(connections)
    assert unpack_connections(shape, packed).hash() == connections.hash()
    size = sum(tensor.numel() * tensor.element_size() for tensor in packed.values())
    assert size == min(-(-total // 8), 4 * (out + connections.nnz)) or abs(total / 8 - 4 * (out + connections.nnz)) < 1


def test_a_huge_layer_is_packed_without_a_tensor_of_its_size() -> None:
    shape = (10**6, 10**6)
    connections = Connections(shape, torch.tensor([0, 10**6 + 3, 10**12 - 1]))
    assert unpack_connections(shape, pack_connections(connections)).hash() == connections.hash()


@pytest.mark.parametrize(
    "setting",
    [
        member()
        for union in (AnyNetwork, AnyTopology, AnyRewiring, AnyOptimizer, AnySchedule)
        for member in members(union)
    ],
    ids=lambda setting: kind_of(type(setting)),
)
def test_every_setting_comes_back_from_json(setting: Any) -> None:
    unions = (AnyNetwork, AnyTopology, AnyRewiring, AnyOptimizer, AnySchedule)
    union = next(union for union in unions if type(setting) in members(union))
    assert from_plain(union, json.loads(json.dumps(to_plain(setting)))) == setting


def test_a_plan_comes_back_from_json() -> None:
    plan = of("vgg-adam-all").plan
    assert from_plain(Plan, json.loads(json.dumps(to_plain(plan)))) == plan
    with pytest.raises(ValueError, match="fraction"):
        from_plain(AnyRewiring, {"kind": "set", "fraction": 7})


@dataclass(frozen=True)
class Memory:
    threshold: float
    averages: tuple[torch.Tensor, ...]


def test_what_a_rewiring_remembers_comes_back() -> None:
    tensors: dict[str, torch.Tensor] = {}
    memory = Memory(0.25, (torch.arange(3), torch.ones(2, 2)))
    packed = json.loads(json.dumps(pack(memory, "rewiring", tensors)))
    assert all(name.startswith("rewiring/") for name in tensors)
    found = unpack(packed, Memory(0.0, ()), tensors)
    assert found.threshold == 0.25
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(memory.averages, found.averages, strict=True))
    assert unpack(pack(None, "rewiring", {}), None, {}) is None
