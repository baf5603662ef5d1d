"""Stopping the worse half early, in Pareto jobs too: curves are compared among networks of similar size.

Optuna refuses pruners in studies of several objectives, so the rule is our own. It decides once, at one epoch, from
held-out losses (40 % of the epochs by default: earlier ranks say little about the last one), or from gradient flow
where a job asks for it. Starts are treated like any other trial: those worth keeping run again in the confirmation.
"""

import math
from collections.abc import Sequence

from models.probe import measured_epochs
from search.spec import JobSpec

BAND = 2.0
"""Networks are compared when their weights differ by at most this factor."""

LEAST_PEERS = 4
"""Fewer comparable networks are no ground to stop one."""


def rung(spec: JobSpec) -> int | None:
    """The epoch, counted from 1, after which a trial goes on or stops; None where none is stopped."""
    stopping, epochs = spec.search.stopping, spec.training.epochs
    if stopping is None:
        return None
    earliest = math.ceil(stopping.from_ * epochs)
    measured = range(1, epochs) if stopping.by == "loss" else sorted(measured_epochs(epochs))
    return next((epoch for epoch in measured if earliest <= epoch < epochs), None)


def compared_by(spec: JobSpec) -> str:
    """The field of an epoch's report that the rule reads."""
    return "loss" if spec.search.stopping is None else spec.search.stopping.by


def goes_on(spec: JobSpec, epoch: int, value: float, weights: int, peers: Sequence[tuple[int, float]]) -> bool:
    """Whether a trial is in the better half of its peers at this epoch, itself included.

    value  finite, after `epoch`: its held-out loss, of which less is better, or its gradient flow, of which more is
    peers  weights and the same value after the same epoch of the job's other trials that reached it
    """
    if epoch != rung(spec):
        return True
    similar = [other for size, other in peers if weights / BAND <= size <= weights * BAND]
    if len(similar) < LEAST_PEERS:
        return True
    rank = 1 + sum(other < value if compared_by(spec) == "loss" else other > value for other in similar)
    return rank <= math.ceil((len(similar) + 1) / 2)
