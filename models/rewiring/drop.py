"""How the share of connections that a rewiring drops falls over the training. Evci et al. 2020, arXiv 1911.11134, 3.

At 0, 1/4, 1/2, 3/4 and the end a cosine from .3 gives .3, .256, .15, .044 and 0.
"""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from models.rewiring.period import progress
from models.types import ByKind, setting

if TYPE_CHECKING:
    from models.rewiring.rewiring import Moment


@setting
class ConstantDrop:
    kind: Literal["constant"] = "constant"

    def __call__(self, progress: Fraction) -> Fraction:
        """Factor of the share dropped, from 1 at a `progress` of 0 on."""
        return Fraction(1)


@setting
class CosineDrop:
    """Falls from 1 to 0 along half a cosine."""

    kind: Literal["cosine"] = "cosine"

    def __call__(self, progress: Fraction) -> Fraction:
        factor = Fraction((1 + math.cos(math.pi * progress)) / 2)
        return factor.limit_denominator(10**12)  # 3/4 is meant where the float is next to it


@setting
class LinearDrop:
    """Falls from 1 to 0 along a line."""

    kind: Literal["linear"] = "linear"

    def __call__(self, progress: Fraction) -> Fraction:
        return 1 - progress


AnyDrop = Annotated[ConstantDrop | CosineDrop | LinearDrop, ByKind()]


def dropped(fraction: float, drop: AnyDrop, moment: "Moment", until: float) -> Fraction:
    """The share that goes at this moment: `fraction`, as it was written, times what `drop` makes of it."""
    # The float nearest .29 is below it and would take 28 of 100.
    return Fraction(str(fraction)) * drop(progress(moment, until))
