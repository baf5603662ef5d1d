"""When rewirings that repeat themselves are due, and until when."""

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from annotated_types import Ge

from models.types import Density

if TYPE_CHECKING:
    from models.rewiring.rewiring import Moment

Every: TypeAlias = Literal["epoch"] | Annotated[int, Ge(1)]
"""After each epoch, or a number of optimizer steps."""

Until: TypeAlias = Density
"""A share of the training: nothing is rewired at its end or later. 1 is all of it but the last step."""


def refuse_no_steps(name: str, every: Every) -> None:
    if every != "epoch" and every < 1:
        raise ValueError(f'{name}.every: {every} is not allowed; it must be "epoch" or >= 1')


def in_turn(moment: "Moment", every: Every, until: float) -> bool:
    """Whether it is time again, and not too late."""
    turn = moment.ends_epoch if every == "epoch" else moment.step % every == 0
    return turn and progress(moment, until) < 1


def progress(moment: "Moment", until: float) -> Fraction:
    """How far the share `until` of the training has gone; 1 and more when it is over."""
    # The decimal that was written: the float nearest .55 is above it, and .55 of 100 steps would end after 55.
    return moment.step / (Fraction(str(until)) * moment.steps)
