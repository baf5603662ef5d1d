"""First points of a search from scores of the dense network's first weights: how many connections each layer keeps."""

from collections.abc import Sequence

from models.data.samples import Split
from models.networks.shapes import LayerShape
from models.placement import allocate
from models.seeds import derive
from models.topologies import SNIP, GraSP, Scoring, SynFlow
from search.capacity import budget_weights, kept_weights, prunable
from search.faults import fault
from search.projection import fit
from search.space import floors
from search.spec import Budget, JobSpec

SCORING: dict[str, Scoring] = {"snip": SNIP(), "grasp": GraSP(), "synflow": SynFlow()}

Scored = tuple[tuple[str, tuple[int, ...]], ...]
"""By name of the start, the connections of each layer whose density is searched."""


def scored(spec: JobSpec, layers: Sequence[LayerShape], split: Split) -> Scored:
    """The starts of this kind that the job asks for, scored once, when it is submitted, on its training part.

    Counts are those of the weights with the highest scores of the whole network, but at least one per output unit: a
    score that knows no layers may empty one. A topology of the job that scores does so with its own settings.

    Raises: InvalidSpec where there are too few samples to score
    """
    space = spec.search.space
    if not isinstance(space, Budget):
        return ()
    searched = prunable(spec.network, layers)
    total = budget_weights(space, layers)
    found = []
    for name in [each for each in spec.search.starts or () if each in SCORING]:
        topology = spec.topology if isinstance(spec.topology, type(SCORING[name])) else SCORING[name]
        try:
            raw = allocate(topology, spec.network, total, spec.training.loss, split, derive(spec.seed, "starts"))
        except ValueError as error:
            raise fault("search.starts", name, str(error)) from None
        kept = [count for layer, count in zip(layers, raw, strict=True) if layer in searched]
        rest = total - kept_weights(spec.network, layers)
        found.append((name, fit(searched, [max(1, count) for count in kept], rest, floors(space, searched))))
    return tuple(found)
