"""Residual blocks that a search switches off: which may be, and that the others have the whole budget."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage

from search import arms, study, trials
from search.blocks import over_all, present
from search.candidates import at_capacity, candidates
from search.capacity import flops, macs
from search.faults import InvalidSpec
from search.points import Finished
from search.problem import examine
from search.regimes import applied, layers_of, own_params
from search.report import build
from search.space import counts
from search.spec import parse

EXAMPLE = json.loads((Path(__file__).parents[2] / "examples/methods/blocks.json").read_text())
EXAMPLE["data"]["limit"] = 200
CHOICES = EXAMPLE["search"]["choices"]


def spec(space=None, choices=None, network=None, **changes):
    search = EXAMPLE["search"] | {"choices": CHOICES if choices is None else choices, **changes.pop("search", {})}
    search |= {"space": space} if space else {}
    return parse(EXAMPLE | changes | {"search": search, "network": EXAMPLE["network"] | (network or {})})


SPEC = spec()
WHERE = examine(SPEC, None)
DENSE = sum(layer.total for layer in WHERE.layers)
SEARCHED = [layer.name for layer in WHERE.layers]


def refusal(asked):
    with pytest.raises(InvalidSpec) as caught:
        examine(asked, None)
    return caught.value.faults[0]


def regime(*off):
    return tuple((path, json.dumps(int(path.split(".")[-1]) not in off)) for path in CHOICES)


def asked(of, ordinals, where=WHERE):
    storage = InMemoryStorage()
    study.create(storage, "study", of)
    return [study.ask(storage, "study", of, where, ordinal) for ordinal in ordinals]


@given(
    ratios=st.lists(st.floats(-2, 2), min_size=len(SEARCHED), max_size=len(SEARCHED)),
    off=st.sets(st.sampled_from([2, 4, 6])),
    weights=st.integers(1_000, 2_500),
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_off_the_others_have_exactly_the_budget(ratios, off, weights):
    of = spec({"kind": "budget", "weights": weights})
    params = {f"ratio_{name}": ratio for name, ratio in zip(SEARCHED, ratios, strict=True)} | dict(regime(*off))
    found = counts(of, WHERE.layers, params)
    there = layers_of(of, WHERE.layers, regime(*off))
    assert sum(found) == weights
    assert len(found) == len(there) == len(WHERE.layers) - 2 * len(off)
    assert all(layer.outputs <= count <= layer.total for layer, count in zip(there, found, strict=True))


def test_trials_switch_blocks_and_train_what_is_left_and_the_report_counts_it():
    finished = []
    for number, point in asked(SPEC, range(2, 6)):
        *epochs, outcome = trials.perform(SPEC, point, None)
        curves = tuple(asdict(each) for each in epochs)
        finished.append(Finished(point, "complete", outcome, number, curves))
    assert len({each.assignment.network for each in finished}) > 1
    shown = build({}, SPEC, WHERE, finished, [], [])
    for row, each in zip(shown["trials"], finished, strict=True):
        network = each.assignment.network
        for name, count, density in zip(SEARCHED, row["nnz"], row["densities"], strict=True):
            assert (count == density == 0) == (name in network.absent)
        assert len(row["nnz_asked"]) == len(row["curves"][0]["nnz"]) == len(SEARCHED)
        assert sum(row["nnz"]) == row["weights"] == round(0.2 * DENSE)
        assert row["macs"] == each.measured.macs == macs(present(network, WHERE.layers), each.measured.nnz)
        assert row["flops"] == each.measured.flops == flops(present(network, WHERE.layers), each.measured.nnz)
    assert {len(point["densities"]) for point in shown["pareto"]} == {len(SEARCHED)}


def test_a_start_has_all_blocks_where_the_job_has_them():
    (_, first), *_ = asked(SPEC, [0])
    assert first.label == "start:erk"
    assert not first.network.absent
    assert set(own_params(SPEC).values()) == {"true"}
    written = spec(network={"blocks": [True] * 6})
    assert set(own_params(written).values()) == {"true"}


def test_candidates_and_arms_have_the_blocks_of_the_best_trial():
    of = spec(confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2}, search={"objectives": ["loss"], "trials": 20})
    shares = tuple(max(layer.outputs, round(0.2 * layer.total)) for layer in WHERE.layers)
    where = replace(WHERE, scored=(("snip", shares),))
    of = replace(of, search=replace(of.search, starts=("erk", "snip")))
    found = next(point for _, point in asked(of, range(20), where) if len(point.network.absent) == 2)
    (*_, outcome) = trials.perform(of, found, None)
    chosen, *starts = candidates(of, where, [Finished(found, "complete", outcome, 0)])
    assert [each.label for each in starts] == ["start:erk", "start:snip"]
    assert {len(each.counts) for each in (chosen, *starts)} == {len(WHERE.layers) - 2}
    assert {each.weights for each in starts} == {chosen.weights}
    for arm in arms.contestants(of, where, chosen, starts[1]):
        layers = arm.network.layers(where.input_shape, where.classes)
        assert {len(each) for each in arm.counts} == {len(layers)} == {len(WHERE.layers) - 2}
    assert at_capacity("erk", of, where, chosen.weights, regime()) != starts[0].counts


def test_what_is_off_is_shown_as_no_connections():
    network = applied(SPEC, regime(4)).network
    assert network.absent == {"block4_conv1", "block4_conv2"}
    there = present(network, WHERE.layers)
    shown = over_all(network, WHERE.layers, [layer.total for layer in there], 0)
    expected = [
        0 if name in network.absent else layer.total for name, layer in zip(SEARCHED, WHERE.layers, strict=True)
    ]
    assert shown == expected


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"network.blocks.3": [True, False]}, "block 3 cannot be switched off: it begins a stage"),
        ({"network.blocks.7": [True, False]}, "blocks 1 to 6"),
        ({"network.blocks.0": [True, False]}, "there is no block 0"),
        ({"network.blocks.2": [0, 1]}, "true"),
        ({"network.blocks": [[True] * 6, [True, True, False, True, True, True]]}, "these can: 1, 2, 4, 6"),
    ],
)
def test_a_block_that_cannot_be_switched_off_is_refused_with_the_reason(choices, words):
    fault = refusal(spec(choices=choices))
    assert fault["field"] == f"search.choices.{next(iter(choices))}"
    assert words in fault["message"]


def test_other_networks_have_no_blocks():
    mlp = parse(EXAMPLE | {"network": {"kind": "mlp"}})
    assert "only a resnet" in refusal(mlp)["message"]


def test_a_block_that_the_job_itself_lacks_is_not_switched_on():
    without = spec(network={"blocks": [True, False, True, True, True, True]})
    assert "changes the layers" in refusal(without)["message"]


def test_a_budget_that_the_blocks_left_cannot_take_is_refused():
    fault = refusal(spec({"kind": "budget", "density": 0.9}))
    assert "are out of reach" in fault["message"]
    assert str(round(0.9 * DENSE)) in fault["message"]


def test_a_block_whose_layers_are_kept_dense_stays():
    assert "block2_conv1" in refusal(spec(network={"keep_dense": ["block2_conv1"]}))["message"]
