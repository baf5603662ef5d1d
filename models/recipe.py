"""How a network is trained: what a job says of it, seeds and data apart."""

from typing import Annotated, Literal

from annotated_types import Interval

from models.averaging import SNTASGD
from models.optimizers import SGD, AnyOptimizer
from models.schedules import AnySchedule, Cosine
from models.types import Count, Positive, Storage, setting

Loss = Literal["cross_entropy", "mse"]


@setting
class Augmentation:
    """shift: largest shift in pixels along each axis, zeros moving in; flip: left-right half of the time."""

    shift: Annotated[int, Interval(ge=0)] = 0
    flip: bool = False


@setting
class Training:
    """clip: largest norm of the gradient of a step, all active weights, biases and norms together.

    averaging: of weights, towards the end; what is evaluated is then the averages.

    storage: how layers keep their weights; `auto` takes what is fastest here, and says so in the trial."""

    epochs: Count = 10
    batch_size: Count = 128
    loss: Loss = "cross_entropy"
    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = Cosine()
    augmentation: Augmentation = Augmentation()
    clip: Positive | None = None
    averaging: SNTASGD | None = None
    storage: Storage = "auto"
