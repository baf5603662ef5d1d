"""The learning rate over a training, as a factor of the optimizer's own."""

import math
from typing import Annotated, Literal, Protocol

from annotated_types import Interval

from models.types import ByKind, Share, setting


class Schedule(Protocol):
    def __call__(self, step: int, steps: int) -> float:
        """Factor for the optimizer step that follows the first `step` of `steps`; `step == steps` is the end."""


@setting
class Constant:
    kind: Literal["constant"] = "constant"

    def __call__(self, step: int, steps: int) -> float:
        return 1.0


@setting
class Step:
    """The rate is multiplied by `factor` each time a share of the training in `at` is reached."""

    kind: Literal["step"] = "step"
    at: tuple[Share, ...] = (0.5, 0.75)
    factor: Annotated[float, Interval(gt=0, lt=1)] = 0.1

    def __call__(self, step: int, steps: int) -> float:
        progress = step / steps
        return self.factor ** sum(share <= progress for share in self.at)


@setting
class Cosine:
    """Falls from 1 to 0 along half a cosine, step by step, after a linear rise over the share `warm_up`."""

    kind: Literal["cosine"] = "cosine"
    warm_up: Annotated[float, Interval(ge=0, lt=1)] = 0.0

    def __call__(self, step: int, steps: int) -> float:
        rising = self.warm_up * steps
        if step < rising:
            return (step + 1) / (rising + 1)  # not 0 at the first step, which would be lost
        return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


AnySchedule = Annotated[Constant | Step | Cosine, ByKind()]
