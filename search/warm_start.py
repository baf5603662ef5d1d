"""First points of a search from earlier jobs: where the best network of each put its connections."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.networks.shapes import LayerShape
from search.capacity import prunable
from search.faults import InvalidSpec, fault
from search.problem import Problem
from search.spec import JobSpec
from search.starts import PREFIX, starts


@dataclass(frozen=True)
class Earlier:
    """The best network of an earlier job. counts: connections of each of its layers, layers kept dense included."""

    job_id: str
    spec: JobSpec
    problem: Problem
    counts: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.job_id[:8]}"


def warmed(spec: JobSpec, problem: Problem, earlier: Sequence[Earlier]) -> Problem:
    """The problem with these networks among its starts, as `job <the id's first 8>`, in this order.

    Raises: InvalidSpec where one is no point of the job's space: other layers, another budget, a density outside.
    """
    searched = prunable(spec.network, problem.layers)
    for number, each in enumerate(earlier):
        _refuse_other_layers(spec, problem, each, number)
        alone = replace(problem, earlier=((each.name, _searched(each, searched)),))
        if not _contains(spec, alone, each):
            shown = ", ".join(f"{layer.name} {count}" for layer, count in zip(problem.layers, each.counts, strict=True))
            raise _fault(number, each, f"its best network ({shown} connections) is no point of this job's space")
    return replace(problem, earlier=tuple((each.name, _searched(each, searched)) for each in earlier))


def _refuse_other_layers(spec: JobSpec, problem: Problem, each: Earlier, number: int) -> None:
    def shown(asked: JobSpec, layers: Sequence[LayerShape]) -> str:
        kept = asked.network.keep_dense
        return ", ".join(f"{layer.name} {list(layer.weight)}{' dense' * (layer.name in kept)}" for layer in layers)

    own, theirs = shown(spec, problem.layers), shown(each.spec, each.problem.layers)
    if own != theirs or problem.layers != each.problem.layers:
        raise _fault(number, each, f"its layers are {theirs}; only those of this job fit: {own}")


def _contains(spec: JobSpec, problem: Problem, each: Earlier) -> bool:
    return any(start.name == each.name for start in starts(spec, problem.layers, problem.earlier))


def _searched(each: Earlier, searched: Sequence[LayerShape]) -> tuple[int, ...]:
    return tuple(count for layer, count in zip(each.problem.layers, each.counts, strict=True) if layer in searched)


def _fault(number: int, each: Earlier, message: str) -> InvalidSpec:
    return fault(f"search.warm_start.{number}", each.job_id, f"{each.job_id!r} is not allowed; {message}")
