import json
from pathlib import Path

import pytest

from search.problem import examine
from search.spec import parse

EXAMPLES = Path(__file__).parents[2] / "examples/methods"


NAMES = ["gp", "nsga2", "cma_es", "qmc", "two_steps", "choices", "egf", "latency", "starts", "gradual_start", "blocks"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_of_each_way_to_search_is_a_job_that_can_be_submitted(name):
    assert examine(parse(json.loads((EXAMPLES / f"{name}.json").read_text())), None).classes == 10
