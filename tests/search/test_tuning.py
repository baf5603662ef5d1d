"""A confirmation of a job that varies settings: every arm gets the winner's, the dense arms those that suit them."""

from dataclasses import replace

import pytest
from search_stubs import complete, failed, job, problem, searched

from models.networks import MLP
from models.rewiring import SET, Static
from search import confirm
from search.report import build

ERK = (18_714, 6_906, 1_000)
ONE, TWO = (20_000, 6_000, 620), (15_000, 11_000, 620)
CHOICES = {
    "rewiring": [{"kind": "static"}, {"kind": "set"}],
    "network.activation": ["relu", "silu"],
    "training.optimizer.lr": [0.05, 0.1],
}
SET_SILU = (("rewiring", '{"kind": "set"}'), ("network.activation", '"silu"'), ("training.optimizer.lr", "0.1"))
STATIC_SILU = (("rewiring", '{"kind": "static"}'), *SET_SILU[1:])
STATIC_RELU = (("rewiring", '{"kind": "static"}'), ("network.activation", '"relu"'), ("training.optimizer.lr", "0.05"))
CONFIRM = {"shortlist": 2, "shortlist_seeds": 2, "seeds": 2}


def varying(**confirm):
    return job({"choices": CHOICES}, confirm=CONFIRM | confirm)


def trials(spec, *points):
    """Complete trials of (counts, settings), the best first."""
    found = searched(spec, [(counts, 0.9 - number / 10) for number, (counts, _) in enumerate(points)])
    return [
        replace(each, assignment=replace(each.assignment, regime=regime))
        for each, (_, regime) in zip(found, points, strict=True)
    ]


def shortlisted(spec, found, accuracies):
    left = {label: list(values) for label, values in accuracies.items()}
    return [complete(spec, each, left[each.label].pop(0)) for each in confirm.shortlist(spec, problem(spec), found)]


SPARSE = {"trial:0": [0.9, 0.9], "trial:1": [0.8, 0.8], "start:erk": [0.6, 0.6]}
DENSE = {"dense:0": [0.7, 0.7], "dense:1": [0.8, 0.8], "same_capacity:0": [0.8, 0.8], "same_capacity:1": [0.7, 0.7]}


def test_candidates_run_with_their_own_settings_and_starts_with_those_of_the_best():
    spec = varying()
    asked = confirm.shortlist(spec, problem(spec), trials(spec, (ONE, SET_SILU), (TWO, STATIC_RELU)))
    found = {each.label: each for each in asked}
    assert [each.ordinal for each in asked] == list(range(14))
    assert list(found) == [*SPARSE, *DENSE]
    assert (found["trial:0"].regime, found["trial:0"].rewiring) == (SET_SILU, SET())
    assert found["trial:0"].network.activation == "silu"
    assert (found["trial:1"].regime, found["trial:1"].rewiring) == (STATIC_RELU, Static())
    assert (found["start:erk"].counts, found["start:erk"].regime) == (ERK, SET_SILU)


def test_two_trials_with_the_same_counts_and_other_settings_are_two_candidates():
    spec = varying()
    found = trials(spec, (ERK, STATIC_RELU), (ERK, SET_SILU))
    labels = {each.label: each.regime for each in confirm.shortlist(spec, problem(spec), found) if ":" in each.label}
    assert labels["start:erk"] == STATIC_RELU
    assert labels["trial:1"] == SET_SILU


def test_every_sparse_arm_has_the_winners_settings_and_each_dense_arm_those_best_for_it():
    spec = varying()
    found = trials(spec, (ONE, SET_SILU), (TWO, STATIC_RELU))
    asked = confirm.finals(spec, problem(spec), found, shortlisted(spec, found, SPARSE | DENSE))
    arms = {each.label: each for each in asked}
    assert {arms[name].regime for name in ("snas", "uniform", "erk", "random")} == {SET_SILU}
    assert {arms[name].rewiring for name in ("snas", "uniform", "erk", "random")} == {SET()}
    assert {arms[name].network.activation for name in ("snas", "uniform", "erk", "random")} == {"silu"}
    assert arms["dense"].regime == STATIC_RELU, "the second of its settings did better"
    assert arms["same_capacity"].regime == SET_SILU
    assert arms["dense"].rewiring == arms["same_capacity"].rewiring == Static()
    assert arms["dense"].network.activation == "relu"
    assert arms["same_capacity"].network == MLP(widths=(33, 11), activation="silu")
    assert sum(arms["dense"].counts) == 266_200


def test_dense_settings_with_a_failed_run_come_last():
    spec = varying()
    found = trials(spec, (ONE, SET_SILU), (TWO, STATIC_RELU))
    runs = shortlisted(spec, found, SPARSE | DENSE)
    first = next(each for each in runs if each.assignment.label == "dense:1")
    runs = [failed(each) if each is first else each for each in runs]
    arms = {each.label: each for each in confirm.finals(spec, problem(spec), found, runs)}
    assert arms["dense"].regime == SET_SILU


def test_settings_that_mean_nothing_to_a_dense_network_are_not_tried_twice():
    spec = varying()
    asked = confirm.shortlist(spec, problem(spec), trials(spec, (ONE, SET_SILU), (TWO, STATIC_SILU)))
    assert {each.label for each in asked} == set(SPARSE)


@pytest.mark.parametrize("arms", [["dense"], ["same_capacity"], ["erk"]])
def test_only_dense_arms_of_the_job_are_tuned(arms):
    spec = varying(arms=arms)
    asked = confirm.shortlist(spec, problem(spec), trials(spec, (ONE, SET_SILU), (TWO, STATIC_RELU)))
    kinds = {each.label.split(":")[0] for each in asked} - {"trial", "start"}
    assert kinds == set(arms) - {"erk"}


def test_the_report_shows_settings_and_how_the_dense_arms_were_tuned():
    spec = varying()
    found = trials(spec, (ONE, SET_SILU), (TWO, STATIC_RELU))
    short = shortlisted(spec, found, SPARSE | DENSE)
    final = [complete(spec, each, 0.9) for each in confirm.finals(spec, problem(spec), found, short)]
    report = build({}, spec, problem(spec), found, short, final)
    silu = {"rewiring": {"kind": "set"}, "network.activation": "silu", "training.optimizer.lr": 0.1}
    relu = {"rewiring": {"kind": "static"}, "network.activation": "relu", "training.optimizer.lr": 0.05}
    assert [row["settings"] for row in report["trials"]] == [silu, relu]
    assert "no search of densities" in report["verdict"]
    assert report["verdict"].endswith(" those of its shortlist that suit them.")
    shown = report["confirmation"]
    assert shown["winner"]["settings"] == shown["arms"]["erk"]["settings"] == silu
    assert shown["arms"]["dense"]["settings"] == relu
    assert [(row["arm"], row["settings"], row["mean"]) for row in shown["tuning"]] == [
        ("dense", silu, pytest.approx(0.7)),
        ("dense", relu, pytest.approx(0.8)),
        ("same_capacity", silu, pytest.approx(0.8)),
        ("same_capacity", relu, pytest.approx(0.7)),
    ]
