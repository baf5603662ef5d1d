import json
import math

import pytest
from search_stubs import job

from search.faults import InvalidSpec
from search.spec import dump, json_schema, parse

SMALLEST = {"name": "a job", "data": {"kind": "bundled"}}


def test_a_job_needs_only_a_name_and_data():
    spec = parse(SMALLEST)
    assert spec.search.objectives == ("loss",)
    assert spec.confirm.shortlist == 4


def test_a_job_comes_back_from_its_json():
    spec = job({"stopping": {"kind": "halving", "from": 0.6}, "sampler": {"kind": "random"}}, seed=5)
    assert parse(json.loads(json.dumps(dump(spec)))) == spec
    assert dump(spec)["search"]["stopping"] == {"kind": "halving", "from": 0.6}


def test_the_schema_is_json():
    assert "properties" in json.loads(json.dumps(json_schema())) or "$defs" in json_schema()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"colour": 1}, "colour", "unknown field"),
        ({"data": {"kind": "nothing"}}, "data.kind", "must be one of"),
        ({"data": {"kind": "bundled", "name": "mnist"}}, "data.name", "digits"),
        ({"name": ""}, "name", "at least 1"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"search": {"space": {"kind": "free", "low": 0}}}, "search.space.low", "greater than 0"),
        ({"search": {"space": {"kind": "free", "high": 1.5}}}, "search.space.high", "less than or equal to 1"),
        ({"search": {"space": {"kind": "free", "low": math.nan}}}, "search.space.low", "finite"),
        ({"search": {"space": {"kind": "free", "low": 0.5, "high": 0.2}}}, "search.space", "less than high"),
        ({"search": {"space": {"kind": "budget"}}}, "search.space", "either weights"),
        ({"search": {"space": {"kind": "budget", "weights": 5, "density": 0.1}}}, "search.space", "not both"),
        ({"search": {"objectives": []}}, "search.objectives", "at least 1"),
        ({"search": {"objectives": ["loss", "loss"]}}, "search", "twice"),
        ({"search": {"objectives": ["size"]}}, "search.objectives.0", "loss"),
        (
            {"search": {"space": {"kind": "budget", "density": 0.1}, "objectives": ["loss", "weights"]}},
            "search",
            "weights is not allowed with a budget",
        ),
        ({"search": {"trials": 0}}, "search.trials", "greater than or equal to 1"),
        ({"confirm": {"arms": ["best"]}}, "confirm.arms.0", "dense"),
        ({"measures": [{"kind": "noise"}, {"kind": "noise"}]}, "(the job)", "names one twice"),
        ({"measures": [{"kind": "gap"}, {"kind": "nothing"}]}, "measures.1.kind", "sharpness"),
        ({"measures": [{"kind": "noise", "strength": 1}]}, "measures.0.strength", "allowed here: kind, deviations"),
        ({"measures": [{"kind": "sharpness", "epsilon": 0}]}, "measures.0.epsilon", "greater than 0"),
        ({"rewiring": {"kind": "rigl", "every": 0}}, "rewiring.every", "greater than or equal to 1"),
        ({"rewiring": {"kind": "rigl", "until": 0}}, "rewiring.until", "greater than 0"),
        ({"rewiring": {"kind": "rigl", "drop": {"kind": "step"}}}, "rewiring.drop.kind", "must be one of"),
        ({"rewiring": {"kind": "dsr", "fraction": 0}}, "rewiring.fraction", "greater than 0"),
        ({"rewiring": {"kind": "momentum", "smoothing": 1}}, "rewiring.smoothing", "less than 1"),
        ({"rewiring": {"kind": "set", "growth": "gradient"}}, "rewiring.growth", "unfired"),
        (
            {"rewiring": {"kind": "set", "last_epoch": "prune_only", "until": 0.5}},
            "rewiring",
            "'prune_only' is not allowed",
        ),
    ],
)
def test_a_fault_names_its_field_and_what_is_allowed(change, field, words):
    with pytest.raises(InvalidSpec) as caught:
        parse(SMALLEST | change)
    found = {fault["field"]: fault["message"] for fault in caught.value.faults}
    assert field in found, found
    assert words in found[field]
