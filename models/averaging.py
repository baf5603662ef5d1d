"""Averages of the weights over the end of a training, each over the steps since its connection last grew.

They stand beside what the optimizer keeps for each weight, and so follow their connections as that does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Annotated, Literal

import torch
from annotated_types import Interval

from models.types import Count, setting

AVERAGE, STEPS = "average", "averaged_steps"
"""What is kept in the optimizer's state: the average of a weight, and the steps since its connection grew."""


@setting
class SNTASGD:
    """Sparse non-monotonically triggered averaged SGD: Liu et al., ICML 2021 (Selfish-RNN), arXiv 2101.09048. Its
    trigger is AWD-LSTM's: Merity, Keskar and Socher 2018, arXiv 1708.02182.

    patience  averaging begins after an epoch whose held-out loss is above the best of all epochs but the `patience`
              ones just before it
    start     the share of the epochs after which averaging begins, in place of that trigger
    """

    kind: Literal["snt_asgd"] = "snt_asgd"
    patience: Count = 5
    start: Annotated[float, Interval(ge=0, lt=1)] | None = None

    def begun(self, losses: Sequence[float | None], epochs: int) -> bool:
        """Whether steps from now on are averaged.

        losses  held-out, of the epochs done; numbers, unless there is a `start`
        """
        if self.start is not None:
            return len(losses) >= Fraction(str(self.start)) * epochs
        known = [loss for loss in losses if loss is not None]
        assert len(known) == len(losses), "a training that is not evaluated has no trigger, and is refused"
        return any(
            loss > min(known[: epoch - self.patience]) for epoch, loss in enumerate(known) if epoch > self.patience
        )


@torch.no_grad()
def average(optimizer: torch.optim.Optimizer) -> None:
    """Takes the weights as they are after a step into their averages.

    The first step of a connection does not count once there is a second: torch's ASGD, and so the authors' code.
    """
    for parameter in _parameters(optimizer):
        state = optimizer.state[parameter]
        if AVERAGE not in state:
            state[AVERAGE], state[STEPS] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        mean, steps = state[AVERAGE], state[STEPS]
        steps += 1
        moved = mean + (parameter - mean) / (steps - 1)
        mean.copy_(torch.where(steps <= 2, parameter, moved))


@contextmanager
def averaged(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, parameters hold their averages, as far as there are any; then their weights again, bit for bit."""
    held = [(each, each.data) for each in _parameters(optimizer) if AVERAGE in optimizer.state.get(each, {})]
    try:
        for parameter, _ in held:
            parameter.data = optimizer.state[parameter][AVERAGE]
        yield
    finally:
        for parameter, weights in held:
            parameter.data = weights


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
