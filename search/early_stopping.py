"""Stopping the worse half early, in Pareto jobs too: curves are compared among networks of similar size.

Optuna refuses pruners in studies of several objectives, so the rule is our own. It decides once, at one epoch, from
held-out losses (40 % of the epochs by default: earlier ranks say little about the last one). Starts are treated like
any other trial: those worth keeping run again in the confirmation anyway.
"""

import math
from collections.abc import Sequence

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
    epoch = math.ceil(stopping.from_ * epochs)
    return epoch if epoch < epochs else None


def goes_on(spec: JobSpec, epoch: int, loss: float, weights: int, peers: Sequence[tuple[int, float]]) -> bool:
    """Whether a trial is in the better half of its peers at this epoch, itself included.

    loss   its finite held-out loss after `epoch`
    peers  weights and held-out loss after the same epoch of the job's other trials that reached it
    """
    if epoch != rung(spec):
        return True
    similar = [other for size, other in peers if weights / BAND <= size <= weights * BAND]
    if len(similar) < LEAST_PEERS:
        return True
    rank = 1 + sum(other < loss for other in similar)
    return rank <= math.ceil((len(similar) + 1) / 2)
