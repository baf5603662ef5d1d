import json
from typing import Any

import pytest
import torch
from small_problem import IMAGE, begin, classes_in_space, same_state
from torch.nn import functional

from models.connections import Connections
from models.evaluation import evaluate
from models.gradient_flow import whole_norm
from models.measures import (
    AnyMeasure,
    DeadNeurons,
    Gap,
    GradientNorms,
    Noise,
    Sharpness,
    Topology,
    Trained,
)
from models.measures.topology import kept
from models.networks import MLP, VGG, ResNet
from models.networks.shapes import LayerShape
from models.rewiring import SET, Static
from models.seeds import generator
from models.settings import from_plain, to_plain
from models.types import kind_of, members

MEASURES = [
    *(member() for member in members(AnyMeasure)),
    Sharpness(starts=1, subspace=5, samples=30),
    Topology(output="fixed"),
]
NETWORKS = {
    "mlp": MLP(widths=(12, 8), batch_norm=True, dropout=0.2),
    "vgg": VGG(channels=(4, "pool", 6), widths=(8,), batch_norm=False),
    "resnet": ResNet(channels=(4, 4, 8)),
}


def trained(network: Any = NETWORKS["mlp"], **options: Any) -> Trained:
    split = classes_in_space((12,) if isinstance(network, MLP) else IMAGE, train=60)
    run = begin(network, **({"split": split} | options))
    list(run.train())
    return Trained(run)


@pytest.fixture(scope="module")
def finished() -> dict[str, Trained]:
    return {name: trained(network) for name, network in NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_a_measure_is_json_repeats_itself_and_leaves_the_run_as_it_was(
    name: str, measure: Any, finished: dict[str, Trained]
) -> None:
    before = trained(NETWORKS[name])
    measure.refuse(before.run.plan.network.layers(before.run.split.input_shape, before.run.split.classes))
    found = measure(finished[name], generator(5))
    assert found
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert measure(finished[name], generator(5)) == found
    assert same_state(finished[name].run, before.run)


@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_every_measure_comes_back_from_json(measure: Any) -> None:
    assert from_plain(AnyMeasure, json.loads(json.dumps(to_plain(measure)))) == measure
    assert kind_of(type(measure)) == measure.kind


def test_the_gap_is_between_training_and_held_out_samples(finished: dict[str, Trained]) -> None:
    run = finished["mlp"].run
    found = Gap()(finished["mlp"], generator(0))
    train = evaluate(run.network, run.split.train, run.loss, 3)
    assert found["train_loss"] == train.loss
    assert found["loss_gap"] == run.reports[-1].loss - train.loss
    assert found["accuracy_gap"] == train.accuracy - run.reports[-1].accuracy


def test_noise_costs_accuracy_the_more_of_it_there_is(finished: dict[str, Trained]) -> None:
    found = Noise(deviations=(1e-6, 3.0))(finished["mlp"], generator(0))
    last = finished["mlp"].run.reports[-1]
    assert found["losses"][0] == pytest.approx(last.loss, abs=1e-4)
    assert found["accuracies"][0] == last.accuracy > found["accuracies"][1]
    assert found["losses"][1] > found["losses"][0]


@pytest.mark.parametrize("deviations", [(0.1, 0.0), (-1.0,), (float("inf"),), (float("nan"),)])
def test_a_deviation_that_is_no_positive_number_is_refused(deviations: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="each must be a finite number > 0"):
        Noise(deviations=deviations)


def test_norms_of_the_whole_gradient_are_those_of_all_layers_as_one() -> None:
    # The toy of EGF: 9.5 and 8.5 there.
    gradients = (torch.tensor([3.0, 4.0, 0.0]), torch.tensor([0.0, 12.0]))
    assert (whole_norm(gradients, 1), whole_norm(gradients, 2)) == (19, 13)


def test_gradient_norms_stand_beside_egf_at_the_same_points(finished: dict[str, Trained]) -> None:
    flow = finished["mlp"].run.gradient_flow
    assert len(flow) == 5
    for each in flow:
        assert each.norm_1 == pytest.approx(3 * each.egf_1)
        assert each.norm_2 / 3 <= each.egf_2 <= each.norm_2 / 3**0.5
    found = GradientNorms()(finished["mlp"], generator(0))
    assert found["norm_2"] == pytest.approx(sum(each.norm_2 for each in flow) / 5)


def test_static_connections_have_not_moved_and_rewired_ones_have() -> None:
    assert Topology()(trained(rewiring=Static()), generator(0)) == {"moved": 0, "moved_by_layer": [0, 0, 0]}
    some, more = (Topology()(trained(rewiring=SET(fraction=share)), generator(0))["moved"] for share in (0.1, 0.6))
    assert 0 < some < more < 1


def test_kept_connections_come_back_from_json(finished: dict[str, Trained]) -> None:
    for done in finished.values():
        found = json.loads(json.dumps(Topology(keep=True)(done, generator(0))))
        last = [layer.connections.hash() for layer in done.run.layers.values()]
        assert [each.hash() for each in kept(found)] == last
        assert len(json.dumps(found["kept"])) < sum(layer.connections.total for layer in done.run.layers.values())


def test_connections_of_few_weights_are_kept_by_their_columns() -> None:
    done = trained(MLP(widths=(90, 80)), density=0.01, rewiring=Static())
    found = Topology(keep=True)(done, generator(0))
    assert "columns" in found["kept"][1]
    assert [each.hash() for each in kept(found)] == [each.hash() for each in done.first]


def test_dead_units_are_those_that_are_silent_or_heard_by_none() -> None:
    done = trained(MLP(widths=(4, 3)), density=1.0, rewiring=Static())
    first, second = done.run.layers["fc1"], done.run.layers["fc2"]
    mask = torch.ones(4, 12)
    mask[1] = 0  # no inputs: its bias alone
    weight = torch.randn(4, 12, generator=generator(0))
    first.assign(weight[mask.bool()], Connections.from_mask(mask))
    first.bias.data.copy_(torch.tensor([0.0, 5.0, -1e4, 0.0]))  # the third never fires
    heard = torch.ones(3, 4)
    heard[:, 3] = 0  # nobody listens to the fourth
    second.assign(torch.ones(int(heard.sum())), Connections.from_mask(heard))
    found = DeadNeurons()(done, generator(0))["fc1"]
    assert found == {"units": 4, "silent": 2, "no_inputs": 1, "no_outputs": 1, "dead": 3}
    x = done.run.split.train.x
    varies = functional.linear(x, first.to_dense(), first.bias).relu().std(0) > 0
    assert varies.tolist() == [True, False, False, True]


def test_a_dead_channel_is_seen_through_pooling_and_flattening() -> None:
    done = trained(VGG(channels=(3, "pool", 4, "pool"), widths=(5,), batch_norm=False), rewiring=Static())
    layer = done.run.layers["conv2"]
    layer.bias.data.copy_(torch.tensor([0.0, -1e4, 0.0, -1e4]))
    found = DeadNeurons()(done, generator(0))
    assert list(found) == ["conv1", "conv2", "fc1"]
    assert found["conv2"]["units"] == 4
    assert found["conv2"]["silent"] >= 2
    assert found["conv2"]["no_inputs"] == 0
    assert found["conv2"]["no_outputs"] == 0
    after = done.run.layers["fc1"]
    heard = torch.ones(5, 4, 4)  # four pixels of each channel
    heard[:, 1] = 0
    after.assign(torch.ones(int(heard.sum())), Connections.from_mask(heard.flatten(1)))
    assert DeadNeurons()(done, generator(0))["conv2"]["no_outputs"] == 1


@pytest.mark.parametrize("measure", [DeadNeurons(), Topology()], ids=repr)
def test_what_takes_layers_as_a_chain_refuses_branches(measure: Any) -> None:
    with pytest.raises(ValueError, match=r"\(3, 7\) does not take the 4 units"):
        measure.refuse([LayerShape("fc1", (4, 6)), LayerShape("output", (3, 7))])
