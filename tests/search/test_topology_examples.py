"""The example jobs of the topologies are accepted as they stand."""

import json
from pathlib import Path

import pytest

from models.topologies import AnyTopology, Random
from models.types import kind_of, members
from search.problem import examine
from search.spec import parse

EXAMPLES = Path(__file__).parents[2] / "examples" / "methods"


@pytest.mark.parametrize("kind", [kind_of(member) for member in members(AnyTopology) if member is not Random])
def test_every_topology_has_an_example_that_is_accepted(kind):
    spec = parse(json.loads((EXAMPLES / f"{kind}.json").read_text()))
    assert spec.topology.kind == kind
    assert examine(spec, EXAMPLES).layers
