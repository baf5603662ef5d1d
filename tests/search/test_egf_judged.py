from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_stubs import job, searched

from search.egf_judged import judged, kendall_tau


def trials(flows, early_losses, losses):
    """Complete trials with these measures after their first epoch, and these final losses."""
    counts = [((20_000 + 10 * k, 6_000, 620 - 10 * k), 1 - loss) for k, loss in enumerate(losses)]
    found = []
    for each, flow, early in zip(searched(job(), counts), flows, early_losses, strict=True):
        first = {"epoch": 1, "loss": early, "egf_1": flow, "egf_2": flow and -flow}
        later = {"epoch": 2, "loss": each.measured.loss, "egf_1": 0.0, "egf_2": 0.0}
        found.append(replace(each, curves=(first, later)))
    return found


def test_flow_and_early_loss_are_judged_by_where_trials_end():
    found = judged(trials([5.0, 4.0, 3.0, 2.0, 1.0], [0.5, 0.7, 0.6, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4, 0.5]))
    assert (found["epoch"], found["n"]) == (1, 5)
    assert found["early"]["egf_1"] == pytest.approx({"loss": -1.0, "accuracy": 1.0})
    assert found["early"]["egf_2"] == pytest.approx({"loss": 1.0, "accuracy": -1.0})
    # One of the ten pairs of early losses is in the other order.
    assert found["early"]["loss"] == pytest.approx({"loss": 0.8, "accuracy": -0.8})
    assert found["sd_by_chance"] == pytest.approx((2 * 15 / (9 * 5 * 4)) ** 0.5)


def test_a_measure_that_does_not_vary_is_not_judged():
    found = judged(trials([1.0] * 5, [0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]))
    assert found["early"]["egf_1"] == {"loss": None, "accuracy": None}
    assert found["early"]["macs"] == {"loss": None, "accuracy": None}, "an mlp under a budget has one number of them"


def test_trials_that_were_stopped_or_too_few_are_no_ground():
    five = trials([5.0, 4.0, 3.0, 2.0, 1.0], [0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert judged(five[:4]) is None
    assert judged([replace(five[0], state="pruned", outcome=None), *five[1:]]) is None
    assert judged([]) is None


def test_early_is_the_first_epoch_that_measured_flow():
    found = trials([None] * 5, [0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])
    found = [
        replace(each, curves=(each.curves[0] | {"egf_2": None}, each.curves[1] | {"egf_1": 1.0 * k}))
        for k, each in enumerate(found)
    ]
    judgement = judged(found)
    assert judgement["epoch"] == 2
    assert judgement["early"]["egf_1"]["loss"] == pytest.approx(1.0)


def test_the_means_over_the_training_are_judged_as_published_beside_the_gradients_norms():
    found = trials([1.0] * 5, [0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])
    flows, norms = [5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]
    found = [replace(each, outcome=replace(each.measured, egf_1=flow)) for each, flow in zip(found, flows, strict=True)]
    assert judged(found)["whole"]["egf_1"] == pytest.approx({"loss": -1.0, "accuracy": 1.0})
    assert set(judged(found)["whole"]) == {"egf_1", "egf_2"}
    measured = [{"gradient_norms": {"norm_1": norm, "norm_2": -norm}} for norm in norms]
    found = [replace(each, outcome=replace(each.measured, measures=m)) for each, m in zip(found, measured, strict=True)]
    assert judged(found)["whole"]["gradient_norm_1"] == pytest.approx({"loss": 1.0, "accuracy": -1.0})
    assert judged(found)["whole"]["gradient_norm_2"] == pytest.approx({"loss": -1.0, "accuracy": 1.0})


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=20))
def test_tau_is_symmetric_within_one_and_turns_with_the_sign(pairs):
    one, other = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    tau = kendall_tau(one, other)
    if tau is None:
        assert len(set(one)) == 1 or len(set(other)) == 1
        return
    assert -1 - 1e-12 <= tau <= 1 + 1e-12
    assert kendall_tau(other, one) == pytest.approx(tau)
    assert kendall_tau([-each for each in one], other) == pytest.approx(-tau)
