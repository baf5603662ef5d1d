import pytest
from search_stubs import job

from search.faults import InvalidSpec
from search.problem import examine, problem_from, problem_json

DIGITS = {"kind": "bundled", "name": "digits"}
MLP = {"kind": "mlp", "widths": [32, 16]}


def spec(search=None, **changes):
    return job({"space": {"kind": "free"}, **(search or {})}, **{"data": DIGITS, "network": MLP, **changes})


def refusal(spec, data_dir=None):
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, data_dir)
    (fault,) = caught.value.faults
    return fault


def test_a_job_is_examined_against_its_data():
    problem = examine(spec(), None)
    assert problem.classes == 10
    assert [layer.total for layer in problem.layers] == [2_048, 512, 160]
    assert 1_000 < problem.samples < 1_797
    assert problem_from(problem_json(problem)) == problem


@pytest.mark.parametrize("field", ["weights", "density"])
@pytest.mark.parametrize("kept", [[], ["fc2"]])
def test_a_budget_out_of_reach_is_refused_with_what_is_possible(field, kept):
    smallest, largest = (32 + 16 + 10, 2_720) if not kept else (32 + 512 + 10, 2_720)
    network = MLP | {"keep_dense": kept}
    for asked in (smallest - 1, largest + 1):
        if field == "density" and asked > largest:
            continue
        value = asked if field == "weights" else asked / largest
        fault = refusal(spec({"space": {"kind": "budget", field: value}}, network=network))
        assert (fault["field"], fault["value"]) == (f"search.space.{field}", value)
        assert f"between {smallest} (" in fault["message"]
        assert "and 2720 (all)" in fault["message"]
    examine(spec({"space": {"kind": "budget", "weights": smallest}}, network=network), None)
    examine(spec({"space": {"kind": "budget", "weights": largest}}, network=network), None)


def test_a_layer_to_keep_dense_must_exist():
    fault = refusal(spec(network=MLP | {"keep_dense": ["fc9"]}))
    assert (fault["field"], fault["value"]) == ("network.keep_dense", ["fc9"])
    assert "fc1, fc2, output" in fault["message"]


def test_a_layer_must_be_left_to_search():
    fault = refusal(spec(network=MLP | {"keep_dense": ["fc1", "fc2", "output"]}))
    assert "nothing to search" in fault["message"]


def test_a_chosen_trial_must_be_one_of_the_job():
    choose = {"choose": {"kind": "trial", "trial": 12}}
    assert refusal(spec(confirm=choose))["field"] == "confirm.choose.trial"
    examine(spec(confirm={"choose": {"kind": "trial", "trial": 11}}), None)


def test_a_network_that_cannot_take_the_data_is_refused():
    fault = refusal(spec(data={"kind": "bundled", "name": "iris"}, network={"kind": "lenet5"}))
    assert fault["field"] == "network"


def test_augmentation_needs_images():
    fault = refusal(spec(data={"kind": "bundled", "name": "iris"}, training={"augmentation": {"shift": 1}}))
    assert fault["field"] == "training.augmentation"


def test_a_split_without_every_class_is_refused_with_the_numbers():
    fault = refusal(spec(data=DIGITS | {"validation": 0.001}))
    assert (fault["field"], fault["value"]) == ("data.validation", 0.001)
    assert "10 classes" in fault["message"]


def test_an_unknown_file_is_refused(tmp_path):
    fault = refusal(spec(data={"kind": "files", "name": "nothing.npz"}), tmp_path)
    assert fault["field"].startswith("data")


@pytest.mark.parametrize("rewiring", [{"kind": "rigl"}, {"kind": "dsr"}, {"kind": "momentum"}, {"kind": "set"}])
def test_a_rewiring_that_would_never_begin_is_refused_with_the_steps_there_are(rewiring):
    # 1,150 samples to learn from, the validation part apart: 5 epochs of 18 batches of 64.
    training = {"epochs": 5, "batch_size": 64}
    examine(spec(rewiring=rewiring | {"every": 44, "until": 0.5}, training=training), None)
    fault = refusal(spec(rewiring=rewiring | {"every": 45, "until": 0.5}, training=training))
    assert (fault["field"], fault["value"]) == ("rewiring.every", 45)
    assert "rewiring ends with step 45 of the 90 of a trial" in fault["message"]


def test_pruning_at_the_end_alone_is_no_idle_rewiring():
    examine(spec(rewiring={"kind": "set", "every": 10_000, "last_epoch": "prune_only"}, confirm=None), None)


def test_an_average_of_every_weight_is_refused_where_there_are_too_many():
    wide = {"kind": "mlp", "widths": [20_000, 20_000]}
    examine(spec(network=wide, rewiring={"kind": "rigl", "every": "epoch"}), None)
    fault = refusal(spec(network=wide, rewiring={"kind": "momentum"}))
    assert fault["field"] == "rewiring"
    assert "401480000 weights" in fault["message"]
