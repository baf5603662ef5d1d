"""A search asked for more trials than it had."""

from dataclasses import replace

from search.faults import fault
from search.problem import Problem
from search.sc_sdc_setting import ScSdc
from search.spec import Budget, JobSpec
from search.steps import step


def further(spec: JobSpec, problem: Problem, trials: int) -> JobSpec:
    """The job with more trials; those it has keep their points, and the first of two steps its length.

    Raises: InvalidSpec
    """
    asked, space = spec.search.trials, spec.search.space
    if trials < asked:
        raise fault("trials", trials, f"{trials} is not allowed; trials only go up, from the {asked} asked so far")
    if trials == asked:
        return spec
    if isinstance(space, ScSdc):
        raise fault("trials", trials, f"{trials} is not allowed; this comparison has {asked} trainings")
    if isinstance(space, Budget) and space.steps == "two":
        space = replace(space, shape_trials=step(spec, problem, 0).trials)
    return replace(spec, search=replace(spec.search, trials=trials, space=space))
