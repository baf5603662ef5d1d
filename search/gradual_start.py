"""A first point of a search from one gradual-pruning run: how many connections each layer is left with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from models.batches import batch_sizes
from models.data import Text
from models.networks.shapes import LayerShape
from models.rewiring import Gradual
from models.rewiring.shares import shared_out
from models.seeds import derive
from models.topologies import Random
from search.capacity import budget_weights, kept_weights, prunable, with_kept
from search.faults import fault
from search.points import Assignment
from search.projection import fit
from search.regimes import applied, own_params, regime_of
from search.space import floors
from search.spec import Budget, JobSpec

NAME: Literal["gradual"] = "gradual"

PRUNINGS = 50
"""About so many in a run, where the job's own rewiring does not say how often."""


@dataclass(frozen=True)
class Pruned:
    """What the pruning run came to.

    counts   connections left in each layer whose density is searched, a weight per output unit at least
    weights  of the whole network after each epoch; seconds: that the run took
    """

    counts: tuple[int, ...]
    weights: tuple[int, ...]
    seconds: float

    @property
    def cost(self) -> dict[str, Any]:
        """As the report shows it."""
        return {"epochs": len(self.weights), "seconds": self.seconds, "weights": list(self.weights)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(tuple(value["counts"]), tuple(value["weights"]), value["seconds"])


def pruning_job(spec: JobSpec, samples: int) -> JobSpec:
    """The job as the pruning run trains: with the settings of a start, once, and nothing measured besides.

    samples  of the training part, validation included

    A job whose rewiring is gradual pruning prunes with its own settings, another from 10 to 75 % of the steps.
    """
    own = applied(spec, regime_of(spec, own_params(spec)))
    learnt = max(1, round(samples * (1 - spec.data.validation)))
    steps = own.training.epochs * len(batch_sizes(learnt, own.training.batch_size, isinstance(spec.data, Text)))
    rewiring = own.rewiring
    if not isinstance(rewiring, Gradual):
        rewiring = Gradual(begin=0.1, end=0.75, every=max(1, steps // PRUNINGS))
    search = replace(own.search, objectives=("loss",), stopping=None)
    return replace(
        own,
        topology=Random(),
        rewiring=replace(rewiring, scope="global"),
        retraining=None,
        measures=(),
        search=search,
    )


def run(spec: JobSpec, layers: Sequence[LayerShape], samples: int) -> tuple[JobSpec, Assignment]:
    """The job and the point to train: a whole training, whose held-out values nobody looks at.

    Weights are compared over all layers whose density is searched, so that what is asked of each of them decides
    nothing, but that none may be full: a layer asked in full would be left alone.
    """
    job = pruning_job(spec, samples)
    searched = prunable(spec.network, layers)
    totals = [layer.total for layer in searched]
    asked = shared_out(_rest(spec, layers), totals, [total - 1 for total in totals])
    return job, Assignment(
        stage="search",
        ordinal=0,
        seed=derive(spec.seed, "gradual start"),
        label=f"pruning:{NAME}",
        trial=None,
        network=job.network,
        rewiring=job.rewiring,
        counts=with_kept(spec.network, layers, asked),
    )


def pruned(
    spec: JobSpec, layers: Sequence[LayerShape], nnz: Sequence[int], reports: Sequence[Mapping[str, Any]]
) -> Pruned:
    """nnz: of each layer as the run ended; reports: of its epochs, as JSON objects."""
    searched = prunable(spec.network, layers)
    left = [max(1, count) for layer, count in zip(layers, nnz, strict=True) if layer in searched]
    return Pruned(
        counts=fit(searched, left, _rest(spec, layers), floors(spec.search.space, searched)),
        weights=tuple(sum(report["nnz"]) for report in reports),
        seconds=sum(report["seconds"] for report in reports),
    )


def refuse_nothing_to_prune(spec: JobSpec, layers: Sequence[LayerShape]) -> None:
    """Raises: InvalidSpec where the budget leaves no layer a connection to lose."""
    searched = prunable(spec.network, layers)
    most = sum(layer.total - 1 for layer in searched)
    if _rest(spec, layers) > most:
        total, kept = _rest(spec, layers) + kept_weights(spec.network, layers), kept_weights(spec.network, layers)
        reason = f"a budget of {total} leaves next to nothing to prune; it must be at most {most + kept}"
        raise fault("search.starts", NAME, reason)


def _rest(spec: JobSpec, layers: Sequence[LayerShape]) -> int:
    assert isinstance(spec.search.space, Budget), "the counts of a pruning run share out a budget"
    return budget_weights(spec.search.space, layers) - kept_weights(spec.network, layers)
