import json
import math
from itertools import pairwise

import pytest
import torch
from optuna.storages import InMemoryStorage
from scipy import stats
from search_stubs import job

from models import training
from models.layers.initialisation import scale_for
from models.optimizers import SGD, Adam, AdamW
from models.recipe import Augmentation
from models.rewiring import SET, Static
from search import cohorts, sc_sdc, study, trials
from search.faults import InvalidSpec
from search.points import Assignment, Finished, Outcome
from search.problem import Problem, examine
from search.report import build
from search.spec import parse

STATIC = {"kind": "static"}
DIGITS = {"kind": "bundled", "name": "digits", "limit": 300}


def spec(space=None, trials=None, **changes):
    space = {"kind": "sc_sdc", "seeds": 1} | (space or {})
    crossed = ("widths", [0] * 5), ("optimizers", [0]), ("activations", [0]), ("regularisers", [0])
    arms = 1 + len(space.get("initialisations", "12"))
    runs = math.prod(len(space.get(name) or default) for name, default in crossed) * arms * space["seeds"]
    found = {"network": {"kind": "mlp", "widths": [68, 68]}, "data": DIGITS, "rewiring": STATIC, "confirm": None}
    return job({"space": space, "trials": trials or runs}, **(found | changes))


def problem(spec, input_shape=(64,), classes=10):
    return Problem(input_shape, classes, 1000, "a hash", spec.network.layers(input_shape, classes))


def assignments(spec, shapes=None):
    shapes = shapes or problem(spec)
    points = spec.search.space.points()
    given = shapes.layers, shapes.input_shape, shapes.classes
    return [(point, sc_sdc.assignment(spec, *given, n, n)) for n, point in enumerate(points)]


def capacity(point, assignment, shapes):
    return assignment.counts, [layer.total for layer in assignment.network.layers(shapes.input_shape, shapes.classes)]


@pytest.mark.parametrize(
    ("inputs", "classes", "depth", "widths"),
    [
        (64, 10, 2, [7, 20, 34, 48, 61]),
        (784, 10, 4, [79, 236, 394, 552, 709]),
        (3072, 100, 4, [308, 923, 1538, 2153, 2768]),
    ],
)
def test_the_published_widths_and_densities(inputs, classes, depth, widths):
    wide = inputs + 4
    asked = spec(network={"kind": "mlp", "widths": [wide] * depth})
    shown = build({}, asked, problem(asked, (inputs,), classes), [], [], [])["sc_sdc"]["widths"]
    assert [each["dense_widths"] for each in shown] == [[width] * depth for width in widths]
    for each, width in zip(shown, widths, strict=True):
        ratio = width / wide
        assert each["densities"] == pytest.approx([ratio, *[ratio**2] * (depth - 1), ratio])
    if inputs == 3072:
        assert shown[0]["weights"] == 1_261_568
        assert [round(each, 5) for each in shown[0]["densities"]] == [0.10013, 0.01003, 0.01003, 0.01003, 0.10013]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        ({"kind": "mlp", "widths": [40, 30, 20]}, (64,)),
        ({"kind": "lenet5"}, (1, 28, 28)),
        ({"kind": "vgg", "channels": [16, "pool", 24], "widths": [30]}, (3, 12, 12)),
        ({"kind": "resnet"}, (3, 32, 32)),
    ],
    ids=lambda each: each["kind"] if isinstance(each, dict) else None,
)
def test_a_pair_has_equal_counts_in_every_layer_and_differs_in_width_alone(network, shape):
    asked = spec({"widths": [0.05, 0.37, 0.8, 1.0], "seeds": 2}, network=network, rewiring={"kind": "set"})
    shapes, dense = problem(asked, shape), {}
    found = assignments(asked, shapes)
    assert len(found) == asked.search.trials == 24
    for point, each in found:
        counts, totals = capacity(point, each, shapes)
        if point.arm == "dense":
            assert list(counts) == totals
            assert each.rewiring == Static()
            dense[point.share, point.seed] = each
        else:
            twin = dense[point.share, point.seed]
            assert (each.counts, each.seed, each.training) == (twin.counts, twin.seed, twin.training)
            assert each.network == asked.network
            assert each.rewiring == SET()
    assert len({each.seed for _, each in found}) == 2
    assert [each.ordinal for _, each in found] == list(range(24))


def started(spec, each):
    """The network at its beginning, as `perform` makes it."""
    split = trials.remembered.split(spec.data, None, 1, None, spec.data.validation)
    given = each.network, each.counts, spec.topology, each.rewiring, each.training, split, each.seed
    run = training.start(*given)
    for layer, fan_in in zip(run.layers.values(), each.fan_in or (), strict=False):
        scale_for(layer, fan_in)
    return run.layers


def test_first_weights_are_those_of_the_dense_twin_or_keep_the_signal():
    asked = spec({"widths": [0.5]}, network={"kind": "mlp", "widths": [200, 200]})
    dense, dist, signal = (started(asked, each) for _, each in assignments(asked, problem(asked)))
    for name, layer in dense.items():
        one, other = layer.values.detach(), dist[name].values.detach()
        torch.testing.assert_close(one, other)
        assert stats.ks_2samp(one.numpy(), other.numpy(), method="asymp").pvalue > 0.01
    # A unit of the second layer has a quarter of 200 connections: variance 2 / 50 to keep the signal, 2 / 100 as dense.
    assert float(signal["fc2"].values.detach().var()) == pytest.approx(2 / 50, rel=0.1)
    assert float(dist["fc2"].values.detach().var()) == pytest.approx(2 / 100, rel=0.1)


def without_times(outcome):
    return {name: value for name, value in outcome.to_json().items() if name not in ("seconds", "storage")}


def performed(spec, each):
    each = Assignment.from_json(json.loads(json.dumps(each.to_json())))
    *reports, outcome = trials.perform(spec, each, None)
    assert isinstance(outcome, Outcome)
    assert len(reports) == outcome.epochs
    return outcome


@pytest.mark.parametrize("network", [{"kind": "mlp", "widths": [30, 20], "batch_norm": True}, {"kind": "resnet"}])
def test_at_full_width_sparse_and_dense_are_one_network_bit_for_bit(network):
    recipe = {"epochs": 2, "batch_size": 64, "optimizer": {"kind": "adagrad"}}
    asked = spec({"widths": [1.0]}, network=network, training=recipe, data=DIGITS | {"limit": 120})
    examine(asked, None)
    dense, *sparse = (performed(asked, each) for _, each in assignments(asked, problem(asked, (1, 8, 8))))
    for each in sparse:
        assert without_times(each) == without_times(dense)


def test_regimes_are_crossed_and_say_what_is_on():
    shape = {
        "widths": [0.5],
        "initialisations": ["same_dist"],
        "optimizers": [{"kind": "sgd", "lr": 0.1, "weight_decay": 0.3}, {"kind": "adamw"}],
        "activations": ["relu", "sigmoid"],
        "regularisers": [[], ["batch_norm", "skip"], ["weight_decay", "augmentation"]],
        "weight_decay": 0.002,
    }
    given = {"augmentation": {"shift": 1}}
    found = assignments(spec(shape, training=given))
    assert len(found) == 2 * 2 * 3 * 2
    for point, each in found:
        chosen = point.regime.regularisers
        assert each.network.batch_norm == ("batch_norm" in chosen)
        assert each.network.skip == ("skip" in chosen)
        assert each.network.activation == point.regime.activation
        assert each.training.augmentation == Augmentation(shift=1 if "augmentation" in chosen else 0)
        decay = 0.002 if "weight_decay" in chosen else 0.0
        kind = SGD(lr=0.1, weight_decay=decay) if point.regime.optimizer.kind == "sgd" else AdamW(weight_decay=decay)
        assert each.training.optimizer == kind
    labels = [each.label for _, each in found]
    assert len(set(labels)) == len(labels)
    assert labels[0] == "dense 0.5 sgd lr=0.1 weight_decay=0.3 relu none"
    assert labels[5] == "same_dist 0.5 sgd lr=0.1 weight_decay=0.3 relu weight_decay+augmentation"


def test_what_no_regime_names_is_as_the_job_says():
    asked = spec(
        training={"optimizer": {"kind": "adam", "weight_decay": 0.5}}, network={"kind": "mlp", "activation": "elu"}
    )
    for _, each in assignments(asked):
        assert each.training == asked.training
        assert each.network.activation == "elu"
        assert each.training.optimizer == Adam(weight_decay=0.5)


@pytest.mark.parametrize(
    ("search", "changes", "words"),
    [
        ({"trials": 14}, {}, "trials: 14 is not allowed; this comparison has 15 trainings"),
        ({"stopping": {"kind": "halving"}, "trials": 15}, {}, "stopping is not allowed with sc_sdc"),
        ({"trials": 15}, {"confirm": {}}, "confirm is not allowed with sc_sdc"),
        ({"trials": 15}, {"retraining": {}}, "retraining is not allowed with sc_sdc"),
        ({"space": {"kind": "sc_sdc", "widths": [0.5, 0.5]}}, {}, "widths: [0.5, 0.5] names one twice"),
        ({"space": {"kind": "sc_sdc", "widths": [0.5, 1.5]}}, {}, "less than or equal to 1"),
        (
            {
                "space": {
                    "kind": "sc_sdc",
                    "regularisers": [["batch_norm", "weight_decay"], ["weight_decay", "batch_norm"]],
                }
            },
            {},
            "names one twice",
        ),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(search, changes, words):
    given = {"name": "a job", "data": DIGITS, "confirm": None} | changes
    with pytest.raises(InvalidSpec) as caught:
        parse(given | {"search": {"space": {"kind": "sc_sdc", "seeds": 1}} | search})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("space", "changes", "field", "words"),
    [
        ({}, {"network": {"kind": "mlp", "keep_dense": ["output"]}}, "network.keep_dense", "it must be []"),
        ({"regularisers": [["augmentation"]]}, {}, "search.space.regularisers.0", "needs training.augmentation"),
        (
            {"regularisers": [[], ["weight_decay"]], "optimizers": [{"kind": "adam"}, {"kind": "rprop"}]},
            {},
            "search.space.regularisers.1",
            "rprop has no weight decay",
        ),
        ({}, {"network": {"kind": "lstm"}}, "network", "a lstm is not compared"),
        ({"regularisers": [["skip"]]}, {"network": {"kind": "vgg"}}, "network", "a vgg has no skip"),
        ({"regularisers": [["skip"]]}, {"network": {"kind": "mlp", "widths": [9]}}, "network", "two hidden layers"),
    ],
)
def test_what_the_rest_of_the_job_does_not_allow_is_refused(space, changes, field, words):
    with pytest.raises(InvalidSpec) as caught:
        examine(spec(space, **changes), None)
    (fault,) = caught.value.faults
    assert fault["field"] == field
    assert words in fault["message"]


def finished(spec, better):
    """Every training complete; sparse is better than dense by so much, and by width a little more."""
    shapes = problem(spec)
    for point, each in assignments(spec, shapes):
        accuracy = 0.5 + point.share / 10 + (better * (1 + point.share) if point.arm != "dense" else 0)
        flow = 2.0 if point.arm == "dense" else 1.0
        outcome = Outcome(
            loss=1.0,
            accuracy=accuracy,
            balanced_accuracy=accuracy,
            weights=sum(each.counts),
            macs=sum(each.counts),
            nnz=each.counts,
            nnz_asked=each.counts,
            connections="a hash",
            storage=("masked",) * 3,
            egf_1=flow,
            egf_2=flow + point.share,
            seconds=1.0,
            epochs=2,
        )
        yield Finished(each, "complete", outcome, each.ordinal)


def test_five_pairs_all_better_give_the_smallest_p_of_five_pairs():
    asked = spec()
    report = build({}, asked, problem(asked), list(finished(asked, 0.1)), [], [])
    for row in report["sc_sdc"]["tests"]:
        assert (row["p"], row["smallest_p"], row["pairs"], row["zeros"]) == (1 / 32, 1 / 32, 5, 0)
        assert row["mean_difference"] == pytest.approx(0.15)
        assert row["p_holm"] == 1 / 16
        assert row["equal_capacity"]
    assert "in 2 of 2 comparisons" in report["verdict"]
    assert "in 0 after Holm's" in report["verdict"]
    assert report["pareto"] == []
    flow = {row["arm"]: row for row in report["sc_sdc"]["gradient_flow"]}
    assert (flow["dense"]["egf_1"], flow["same_dist"]["egf_1"], flow["dense"]["egf_2"]) == (2, 1, 2.5)
    assert flow["dense"]["runs"] == 5


def test_worse_and_equal_networks_are_no_find():
    asked = spec({"seeds": 2})
    for better, words in ((-0.1, "in 0 of 2 comparisons"), (0.0, "No verdict is possible with 0 pairs that differ")):
        report = build({}, asked, problem(asked), list(finished(asked, better)), [], [])
        assert [row["p"] for row in report["sc_sdc"]["tests"]] == [1.0, 1.0]
        assert words in report["verdict"]


def test_a_report_before_the_end_has_the_pairs_so_far_and_no_verdict():
    asked = spec()
    every = list(finished(asked, 0.1))
    for number in (0, 1, 2, 4):
        report = json.loads(json.dumps(build({}, asked, problem(asked), every[:number], [], []), allow_nan=False))
        assert report["verdict"] is None
        # Dense, same_dist, same_signal; dense again, of the next width.
        pairs = [row["pairs"] for row in report["sc_sdc"]["tests"]]
        assert pairs == {0: [0, 0], 1: [0, 0], 2: [1, 0], 4: [1, 1]}[number]


def test_too_few_pairs_give_no_verdict():
    asked = spec({"widths": [0.3, 0.5]})
    report = build({}, asked, problem(asked), list(finished(asked, 0.1)), [], [])
    assert "No verdict is possible with 2 pairs, where the smallest p of the test is 0.25" in report["verdict"]


def test_a_failed_training_costs_its_pairs():
    asked = spec()
    every = list(finished(asked, 0.1))
    every[0] = Finished(every[0].assignment, "failed", None, 0, error="the loss is not finite")
    report = build({}, asked, problem(asked), every, [], [])
    assert [row["pairs"] for row in report["sc_sdc"]["tests"]] == [4, 4]
    assert report["verdict"] is not None


def test_a_small_comparison_from_ask_to_report():
    asked = spec(
        {"widths": [0.2, 0.6], "regularisers": [[], ["batch_norm"]]},
        network={"kind": "mlp", "widths": [24, 24]},
        training={"epochs": 2, "batch_size": 64},
    )
    found = examine(asked, None)
    storage, ended = InMemoryStorage(), []
    study.create(storage, "study", asked)
    for ordinal in range(asked.search.trials):
        number, each = study.ask(storage, "study", asked, found, ordinal)
        assert study.ask(storage, "study", asked, found, ordinal) == (number, each)
        outcome = performed(asked, each)
        study.tell(storage, "study", asked, number, "complete", outcome)
        ended.append(Finished(each, "complete", outcome, number))
    assert [trial.state for trial in study.trials(storage, "study")] == ["complete"] * 12
    report = json.loads(json.dumps(build({"id": "1"}, asked, found, ended, [], []), allow_nan=False))
    assert all(row["equal_capacity"] and row["pairs"] == 2 for row in report["sc_sdc"]["tests"])
    assert all(row["nnz"] == row["nnz_asked"] for row in report["trials"])
    for one, other, last in zip(*[iter(report["trials"])] * 3, strict=True):
        assert one["nnz"] == other["nnz"] == last["nnz"]
        assert other["connections"] == last["connections"] != one["connections"]
        assert other["loss"] != last["loss"]
    assert [point["ordinal"] for point in report["sc_sdc"]["points"]] == list(range(12))
    assert all(row["runs"] == 2 and row["egf_1"] > 0 for row in report["sc_sdc"]["gradient_flow"])


def test_first_weights_are_scaled_for_the_inputs_of_the_narrow_layer():
    (_, dense), (_, sparse), (_, signal) = assignments(spec({"widths": [0.3]}))
    assert sparse.fan_in == (64, 20, 20)
    assert dense.fan_in is signal.fan_in is None
    assert list(dense.counts) == [one * other for one, other in pairwise((64, 20, 20, 10))]


def test_a_training_is_run_as_its_regime_says():
    recipe = {"epochs": 2, "batch_size": 64, "schedule": {"kind": "constant"}}
    asked = spec({"widths": [0.3], "optimizers": [{"kind": "sgd", "lr": 0.3}]}, training=recipe)
    for _, each in assignments(asked):
        first, *_ = trials.perform(asked, each, None)
        assert first.lr == 0.3


def test_trainings_of_other_regimes_do_not_go_together():
    asked = spec({"widths": [0.3], "optimizers": [{"kind": "sgd"}, {"kind": "adam"}]})
    kinds = [cohorts.kind(asked, each) for point, each in assignments(asked) if point.arm != "dense"]
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3]
