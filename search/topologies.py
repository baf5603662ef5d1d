"""The connections that trials ended with, compared by their distance."""

from collections.abc import Mapping
from typing import Any

from models.connections import Connections
from models.measures.topology import KEPT, kept
from models.topology_distance import Output as Output
from models.topology_distance import nnstd
from search.points import Outcome


class NotKept(LookupError):
    """A trial whose connections were not kept. Names it, and says how they would be."""


def distance(outcomes: Mapping[int, Outcome | None], a: int, b: int, output: Output) -> dict[str, Any]:
    """NNSTD between two of the trials, by their numbers. Raises: NotKept."""
    one, other = _connections(a, outcomes[a]), _connections(b, outcomes[b])
    if [each.shape for each in one] != [each.shape for each in other]:
        raise NotKept(f"trials {a} and {b} have not the same layers, as blocks are switched off: there is no distance")
    between = nnstd(one, other, output)
    return {"a": a, "b": b, "distance": between.total, "by_layer": list(between.layers)}


def _connections(number: int, outcome: Outcome | None) -> list[Connections]:
    measured = outcome.measures.get("topology", {}) if outcome else {}
    if KEPT not in measured:
        raise NotKept(
            f"the connections of trial {number} were not kept; a job keeps those of its complete trials if its "
            'measures have {"kind": "topology", "keep": true}'
        )
    return kept(measured)


def shown(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a report shows of measures: all but kept connections, which are for the machine."""
    return {kind: {name: value for name, value in found.items() if name != KEPT} for kind, found in measures.items()}
