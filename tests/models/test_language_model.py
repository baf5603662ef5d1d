"""Texts: windows in streams, networks that carry what they know from window to window, in both storages."""

import math
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_problem import begin, classes_in_space, measured, same_state
from torch import Tensor, nn

from models import checkpoint
from models.averaging import SNTASGD
from models.connections import Connections
from models.data import Text
from models.data.refusal import DataError
from models.data.samples import Samples, Split, final_split, search_split
from models.evaluation import STREAMS
from models.gradient_flow import effective_gradient_flow
from models.layers import sparse_layers
from models.networks import LSTM, MLP, LanguageModel
from models.optimizers import SGD, Adam
from models.recipe import Training
from models.rewiring import SET
from models.seeds import generator
from models.streams import carrying, in_streams
from models.types import Storage

storages = pytest.mark.parametrize("storage", ["masked", "compressed"])
MODELS = {
    "lstm": LanguageModel(embedding=6, units=(10,), dropout=0.2),
    "gru": LanguageModel(cell="gru", embedding=6, units=(8, 7)),
    "tied": LanguageModel(embedding=9, units=(12, 9), tied=True),
}
models = pytest.mark.parametrize("model", MODELS)
ADAM = Training(epochs=4, batch_size=6, optimizer=Adam(lr=0.01), clip=0.5)


def written(folder: Path, text: str, **fields: Any) -> Text:
    (folder / "text.txt").write_text(text, encoding="utf-8", newline="")
    return Text(**{"kind": "text", "name": "text.txt", "steps": 5} | fields)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    text = "".join(f"{number * number} is {number} squared; " for number in range(60))
    return search_split(written(tmp_path, text, validation=0.2).load(tmp_path, 0), 0.2, 0)


# The data


def test_windows_are_the_text_and_labels_come_one_character_later(tmp_path: Path) -> None:
    text = "abcdefghijklmnopqrstuvwxyz" * 4
    data = written(tmp_path, text, test=0.25).load(tmp_path, 0)
    letters = "".join(chr(ord("a") + code) for code in data.train.x.flatten().tolist())
    assert letters == text[: 15 * 5]  # of 78 characters
    assert torch.equal(data.train.y.flatten()[:-1], data.train.x.flatten()[1:])
    assert data.test.x[0, 0] == 0  # the test part begins at 78 = 3 * 26, an "a"
    assert (data.classes, data.input_shape) == (26, (5,))


def test_the_default_split_is_90_5_5_in_order(tmp_path: Path) -> None:
    data = written(tmp_path, "01234567890 " * 1000, steps=10).load(tmp_path, 0)
    split = search_split(data, Text(kind="text", name="").validation, 3)
    assert [len(each) for each in (split.train, split.held_out, data.test)] == [1079, 60, 59]
    assert torch.equal(torch.cat([split.train.x, split.held_out.x]), data.train.x)
    assert final_split(data).train is data.train
    assert final_split(data).held_out is data.test


def test_line_ends_and_every_alphabet_are_kept(tmp_path: Path) -> None:
    data = written(tmp_path, "\ufeffé\r\nß\n😀" * 20, test=0.5).load(tmp_path, 0)
    assert data.classes == 6  # the mark at the very start is none of the text, those inside are
    assert data.hash != written(tmp_path, "é\r\nß\n😀" * 20, test=0.5).load(tmp_path, 0).hash


def test_a_limit_reads_the_beginning(tmp_path: Path) -> None:
    whole, part = (written(tmp_path, "abc" * 200, limit=limit).load(tmp_path, 0) for limit in (None, 300))
    assert len(part.train) < len(whole.train)
    assert torch.equal(part.train.x, whole.train.x[: len(part.train)])


@pytest.mark.parametrize(
    ("text", "fields", "reason"),
    [
        (
            "ab" * 100 + "z",
            {},
            r"character 201, 'z', is in the test part and nowhere in the training part, the first 1",
        ),
        ("ab" * 10, {"steps": 30}, r"data.steps: 30 is not allowed; the training part has 19 characters"),
        ("ab" * 10, {}, r"data.steps: 5 is not allowed; the test part has 1 characters"),
        ("a" * 100, {}, r"text.txt: 100 characters, not two different ones"),
        ("", {}, r"text.txt: 0 characters, not two different ones"),
        ("ab" * 100, {"name": "other.txt"}, r"data.name: 'other.txt' is not in the data directory"),
        ("ab" * 100, {"name": "../text.txt"}, r"data.name: '../text.txt' is not allowed"),
        ("ab" * 100, {"name": "folder"}, r"data.name: 'folder' is a folder"),
    ],
)
def test_a_text_that_cannot_be_read_says_why(text: str, fields: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=reason):
        written(tmp_path, text, **fields).load(tmp_path, 0)


def test_bytes_that_are_no_utf_8_are_refused(tmp_path: Path) -> None:
    setting = written(tmp_path, "abc")
    (tmp_path / "text.txt").write_bytes(b"abc\xff" * 30)
    with pytest.raises(DataError, match=r"text.txt: not a text in UTF-8"):
        setting.load(tmp_path, 0)


def test_a_validation_part_without_a_window_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path, "ab" * 40, test=0.2).load(tmp_path, 0)
    with pytest.raises(DataError, match=r"data.validation: 0.01 of 12 windows holds out 0"):
        search_split(data, 0.01, 0)


# Streams


@given(windows=st.integers(1, 60), streams=st.integers(1, 20))
def test_streams_are_consecutive_parts_of_the_text_and_nothing_is_left_out(windows: int, streams: int) -> None:
    if streams > windows:
        with pytest.raises(ValueError, match=f"{streams} streams are not allowed"):
            in_streams(windows, streams)
        return
    batches = in_streams(windows, streams)
    read: list[list[int]] = [[] for _ in range(streams)]
    for batch in batches:
        for stream, window in enumerate(batch.tolist()):
            read[stream].append(window)
    assert [window for stream in read for window in stream] == list(range(windows))
    assert max(map(len, read)) - min(map(len, read)) <= 1


def built(model: LanguageModel, storage: Storage, density: float = 1.0, classes: int = 11, steps: int = 5) -> nn.Module:
    draw = generator(5)
    layers = model.layers((steps,), classes)
    counts = [max(1, round(density * layer.total)) for layer in layers]
    connections = [
        Connections(layer.weight, torch.randperm(layer.total, generator=draw)[:count].sort().values)
        for layer, count in zip(layers, counts, strict=True)
    ]
    return model.build((steps,), classes, connections, draw, storage)


@storages
@models
def test_layers_are_those_that_were_announced(model: str, storage: Storage) -> None:
    network = built(MODELS[model], storage, 0.4)
    announced = MODELS[model].layers((5,), 11)
    assert [(name, layer.connections.shape) for name, layer in sparse_layers(network).items()] == [
        (layer.name, layer.weight) for layer in announced
    ]
    assert network(torch.zeros(3, 5, dtype=torch.int64)).shape == (3, 11, 5)


@storages
@models
def test_windows_read_one_after_the_other_are_the_text_read_at_once(model: str, storage: Storage) -> None:
    network = built(MODELS[model], storage, 0.4).eval().double()
    codes = torch.randint(11, (4, 15), generator=generator(1))
    whole = network(codes)
    with carrying(network):
        parts = [network(codes[:streams, begin : begin + 5]) for begin, streams in ((0, 4), (5, 4), (10, 2))]
    torch.testing.assert_close(torch.cat(parts[:2], dim=2), whole[:, :, :10])
    torch.testing.assert_close(parts[2], whole[:2, :, 10:])
    torch.testing.assert_close(network(codes[:, 10:]), network(codes[:, 10:]))
    assert not torch.allclose(network(codes[:, 10:]), whole[:, :, 10:])  # outside, nothing is known before a window


@storages
def test_no_gradient_goes_back_beyond_a_window(storage: Storage) -> None:
    network = built(MODELS["lstm"], storage)
    codes = torch.randint(11, (4, 10), generator=generator(1))
    with carrying(network):
        network(codes[:, :5]).sum().backward()
        network(codes[:, 5:]).sum().backward()  # a second pass through the first window's graph would raise
        assert all(not part.requires_grad for state in network.known or [] for part in state)
    assert network.known is None


@storages
def test_a_dense_model_is_torchs(storage: Storage) -> None:
    model = LanguageModel(embedding=6, units=(10, 8))
    network = built(model, storage).double()
    layers = sparse_layers(network)
    lstms = [nn.LSTM(6, 10, batch_first=True).double(), nn.LSTM(10, 8, batch_first=True).double()]
    with torch.no_grad():
        for number, lstm in enumerate(lstms, start=1):
            for name, part in (("input", "ih"), ("recurrent", "hh")):
                getattr(lstm, f"weight_{part}_l0").copy_(layers[f"lstm{number}.{name}"].to_dense())
                getattr(lstm, f"bias_{part}_l0").zero_()
    codes = torch.randint(11, (3, 5), generator=generator(1))
    x: Tensor = nn.functional.embedding(codes, layers["embedding"].to_dense())
    for lstm in lstms:
        x = lstm(x)[0]
    expected = nn.functional.linear(x, layers["output"].to_dense())
    torch.testing.assert_close(network(codes), expected.transpose(1, 2))


# Trainings


def test_both_storages_learn_the_same(split: Split) -> None:
    for model in MODELS.values():
        runs = [begin(model, split, 0.4, training=ADAM, storage=each) for each in ("masked", "compressed")]
        for run in runs:
            list(run.train())
        losses = [[(report.train_loss, report.loss, report.egf_1) for report in run.reports] for run in runs]
        assert losses[0] == [pytest.approx(each, rel=1e-3) for each in losses[1]]
        assert all(report.nnz == run.plan.counts for run in runs for report in run.reports)


@storages
def test_a_tied_table_is_one_layer_that_learns_as_both(storage: Storage, split: Split) -> None:
    run = begin(MODELS["tied"], split, 0.4, training=ADAM, storage=storage)
    assert list(run.layers) == ["lstm1.input", "lstm1.recurrent", "lstm2.input", "lstm2.recurrent", "output"]
    output = run.layers["output"]
    parts = run.split.train.at(torch.arange(6))
    loss = nn.functional.cross_entropy(run.network.train()(parts.x), parts.y)
    loss.backward()
    gradient = output.gather(output.parameter.grad)
    table = output.to_dense().requires_grad_()
    decoder = output.to_dense().requires_grad_()
    x = nn.functional.embedding(parts.x, table)
    for name in ("lstm1", "lstm2"):
        x = run.network.get_submodule(name)(x)[0]
    nn.functional.cross_entropy(nn.functional.linear(x, decoder, output.bias).transpose(1, 2), parts.y).backward()
    both = (table.grad + decoder.grad).flatten()[output.connections.positions]
    torch.testing.assert_close(gradient, both)
    assert table.grad.any()
    list(run.train())
    assert run.reports[-1].nnz == run.plan.counts


@models
def test_a_model_learns(model: str, split: Split) -> None:
    training = replace(ADAM, epochs=12, optimizer=Adam(lr=0.03))
    run = begin(replace(MODELS[model], dropout=0.0), split, 0.6, training=training)
    list(run.train())
    assert run.gradient_flow[0].egf_1 > 0
    assert run.reports[-1].loss < 0.8 * math.log(split.classes)
    assert run.reports[-1].train_loss < 0.6 * run.reports[0].train_loss


def test_an_epoch_carries_what_is_known_and_begins_from_nothing(split: Split) -> None:
    still = replace(ADAM, epochs=2, optimizer=SGD(lr=1e-30, momentum=0.0))
    run = begin(MODELS["gru"], split, 0.4, training=still, rewiring=SET(fraction=0.0))
    list(run.train())
    network = run.network.train()
    with carrying(network):
        known = mean_loss(network, split.train, 6)
    first, second = (report.train_loss for report in run.reports)
    assert first == second == pytest.approx(known, rel=1e-6)
    assert first != pytest.approx(mean_loss(network, split.train, 6), rel=1e-6)


@torch.no_grad()
def mean_loss(network: nn.Module, samples: Samples, streams: int) -> float:
    losses = [
        nn.functional.cross_entropy(network(samples.x[batch]), samples.y[batch]) * len(batch)
        for batch in in_streams(len(samples), streams)
    ]
    return float(sum(losses)) / len(samples)


def test_evaluation_reads_the_held_out_text_in_a_few_streams_without_a_trace(split: Split) -> None:
    run = begin(MODELS["gru"], split, 0.4, training=ADAM)
    next(run.train())
    network = run.network.eval()
    with carrying(network):
        expected = mean_loss(network, split.held_out, STREAMS)
    assert run.evaluate().loss == pytest.approx(expected, rel=1e-6)
    assert run.evaluate() == run.evaluate()
    assert network.known is None


@pytest.mark.parametrize("averaging", [None, SNTASGD(start=0.5)], ids=["plain", "averaged"])
@models
def test_a_resumed_run_goes_on_bit_for_bit(model: str, averaging: Any, split: Split, tmp_path: Path) -> None:
    training = replace(ADAM, averaging=averaging)
    whole, half = (begin(MODELS[model], split, 0.4, training=training, rewiring=SET(every=3)) for _ in range(2))
    list(whole.train())
    list(islice(half.train(), 2))
    checkpoint.save(half, tmp_path / "half")
    other = checkpoint.load(tmp_path / "half", split)
    list(other.train())
    assert measured(whole) == measured(other)
    assert whole.gradient_flow == other.gradient_flow
    for name, run in (("whole", whole), ("other", other)):
        checkpoint.save(run, tmp_path / name)
    assert same_state(*(checkpoint.load(tmp_path / name, split) for name in ("whole", "other")))


def test_gradient_flow_is_that_of_every_layer_on_the_probe(split: Split) -> None:
    run = begin(MODELS["tied"], split, 0.4, training=ADAM)
    next(run.train())
    probe = run._probe.samples
    loss = nn.functional.cross_entropy(run.network.eval()(probe.x), probe.y)
    assert run.gradient_flow[-1].egf_1 == pytest.approx(effective_gradient_flow(run.network, loss, 1), rel=1e-5)


@pytest.mark.parametrize("network", [MLP(widths=(4,)), LSTM(units=(4,))], ids=lambda each: each.kind)
def test_a_text_is_for_language_models_and_they_for_it(network: Any, split: Split) -> None:
    with pytest.raises(ValueError, match="cannot read a text"):
        begin(network, split)
    with pytest.raises(ValueError, match=r"language_model cannot read inputs of shape \(12,\)"):
        begin(MODELS["lstm"], classes_in_space())


def test_more_streams_than_windows_are_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="batch_size: 10000 streams are not allowed"):
        begin(MODELS["lstm"], split, training=replace(ADAM, batch_size=10000))


def test_a_tied_table_has_to_fit() -> None:
    with pytest.raises(ValueError, match=r"LanguageModel.embedding: 6 is not allowed with tied: true; it must be 10"):
        LanguageModel(embedding=6, units=(10,), tied=True)
    assert LanguageModel(embedding=10, units=(20, 10), tied=True).scaled(0.3).embedding == 3


# Clipping


@storages
def test_a_step_is_clipped_by_the_norm_over_all_active_gradients(storage: Storage, split: Split) -> None:
    def step(clip: float | None) -> list[Tensor]:
        training = Training(epochs=1, batch_size=len(split.train), optimizer=SGD(lr=1.0, momentum=0.0), clip=clip)
        run = begin(MODELS["gru"], split, 0.3, training=training, rewiring=SET(fraction=0.0), storage=storage)
        before = [layer.values.detach().clone() for layer in run.layers.values()]
        noisy(run)
        before += [layer.bias.detach().clone() for layer in run.layers.values() if layer.bias is not None]
        list(run.train())
        after = [layer.values.detach() for layer in run.layers.values()]
        after += [layer.bias.detach() for layer in run.layers.values() if layer.bias is not None]
        return [new - old for new, old in zip(after, before, strict=True)]

    def noisy(run: Any) -> None:
        for layer in run.layers.values():
            if storage == "masked":
                noise = 100 * torch.randn(layer.parameter.shape, generator=generator(5))
                layer.parameter.data = layer.scatter(layer.values.detach(), noise)

    free, clipped = step(None), step(0.01)
    norm = torch.cat(free).norm()
    assert norm > 0.05
    for one, other in zip(free, clipped, strict=True):
        torch.testing.assert_close(other, one * (0.01 / norm), rtol=1e-3, atol=2e-7)
    for one, other in zip(free, step(1e6), strict=True):
        torch.testing.assert_close(one, other)


def test_a_perceptron_is_clipped_too() -> None:
    def weights(clip: float | None, storage: Storage) -> list[Tensor]:
        training = Training(epochs=2, batch_size=16, optimizer=SGD(lr=0.1), clip=clip)
        run = begin(training=training, storage=storage)
        list(run.train())
        return [layer.to_dense() for layer in run.layers.values()]

    compressed, masked = weights(0.1, "compressed"), weights(0.1, "masked")
    for one, other in zip(compressed, masked, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert not torch.equal(compressed[0], weights(None, "compressed")[0])


def test_a_clip_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Training.clip: 0.0 is not allowed; it must be > 0"):
        Training(clip=0.0)
