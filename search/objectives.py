"""What a trial is judged by: the values told to Optuna, and who is dominated."""

from collections.abc import Sequence
from typing import Literal

from search.points import Outcome
from search.spec import JobSpec, Objective

Direction = Literal["minimize", "maximize"]
Measure = Literal["accuracy", "balanced_accuracy"]

DIRECTIONS: dict[Objective, Direction] = {
    "loss": "minimize",
    "accuracy": "maximize",
    "balanced_accuracy": "maximize",
    "perplexity": "minimize",
    "weights": "minimize",
    "macs": "minimize",
    "flops": "minimize",
    "latency": "minimize",
    "egf": "maximize",
}

QUALITY: tuple[Objective, ...] = ("loss", "accuracy", "balanced_accuracy")
"""Objectives that say how well a network does; the others say what it costs, or foretell."""


def directions(spec: JobSpec) -> list[Direction]:
    return [DIRECTIONS[name] for name in spec.search.objectives]


def values(spec: JobSpec, outcome: Outcome) -> list[float]:
    """The job's objectives, in its order."""
    return [_value(name, outcome) for name in spec.search.objectives]


def cost(name: Objective, outcome: Outcome) -> float:
    """The objective as a number of which less is better."""
    value = _value(name, outcome)
    return value if DIRECTIONS[name] == "minimize" else -value


def ranked_by(spec: JobSpec) -> Objective:
    """What orders the trials of a job: its first objective that measures quality; `loss` where it has none."""
    return ranking(spec.search.objectives)


def ranking(names: Sequence[Objective]) -> Objective:
    """The same, of a job with these objectives."""
    quality = [name for name in names if name in QUALITY]
    return quality[0] if quality else "loss"


def measure(spec: JobSpec) -> Measure:
    """The accuracy that the confirmation compares: the balanced one where the job asks for it."""
    return "balanced_accuracy" if "balanced_accuracy" in spec.search.objectives else "accuracy"


def non_dominated(costs: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other is at least as good as in everything and better in something."""
    kept: list[tuple[float, ...]] = []
    # In lexicographic order whatever dominates a point comes before it, and what is itself dominated need not be asked.
    for point in sorted({tuple(point) for point in costs}):
        if not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in kept):
            kept.append(point)
    front = set(kept)
    return [here for here, point in enumerate(costs) if tuple(point) in front]


def _value(name: Objective, outcome: Outcome) -> float:
    value = outcome.egf_1 if name == "egf" else getattr(outcome, name)
    if value is None:
        raise ValueError(f"{name} is an objective of this job, and was not measured")
    return float(value)
