"""What the comparison of sparse and dense networks at the same capacity crosses: widths, regimes, first weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

from annotated_types import Interval, MinLen

from models.networks.stack import Activation
from models.optimizers import AnyOptimizer
from models.types import Count, Density, Positive, setting

Initialisation = Literal["same_dist", "same_signal"]
Regulariser = Literal["batch_norm", "augmentation", "weight_decay", "skip"]
Arm = Literal["dense", "same_dist", "same_signal"]


@dataclass(frozen=True)
class Regime:
    """How both networks of a pair are trained; None: as the job says."""

    optimizer: AnyOptimizer | None
    activation: Activation | None
    regularisers: tuple[Regulariser, ...] | None


@dataclass(frozen=True)
class Point:
    """One training: a dense narrow network, or a sparse wide one with its first weights. seed: from 0."""

    regime: Regime
    share: float
    arm: Arm
    seed: int


@setting
class ScSdc:
    """A dense narrow network against a sparse wide one with as many active weights in every layer.

    The wide network is the job's; Tessera, Hooker and Rosman 2021, arXiv 2102.01670.

    widths           of the narrow networks, as shares of the wide one's
    initialisations  of the sparse networks: `same_dist`, every active weight drawn as in its dense twin; `same_signal`,
                     drawn for the connections that its unit really has
    optimizers, activations  each is tried; none stands for the job's own
    regularisers     sets, each is tried: what it names is on, the others are off; none stands for what the job says
    weight_decay     where it is on
    seeds            of each pair
    """

    kind: Literal["sc_sdc"]
    widths: Annotated[tuple[Density, ...], MinLen(1)] = (0.1, 0.3, 0.5, 0.7, 0.9)
    initialisations: Annotated[tuple[Initialisation, ...], MinLen(1)] = ("same_dist", "same_signal")
    optimizers: tuple[AnyOptimizer, ...] = ()
    activations: tuple[Activation, ...] = ()
    regularisers: tuple[tuple[Regulariser, ...], ...] = ()
    weight_decay: Positive = 1e-4
    seeds: Annotated[Count, Interval(le=1000)] = 3

    def __post_init__(self) -> None:
        each_once = {
            "widths": self.widths,
            "initialisations": self.initialisations,
            "optimizers": self.optimizers,
            "activations": self.activations,
            "regularisers": tuple(frozenset(each) for each in self.regularisers),
        }
        for name, values in each_once.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: {list(getattr(self, name))} names one twice")
        if not all(0 < share <= 1 for share in self.widths):
            raise ValueError(f"widths: {list(self.widths)} is not allowed; each must be > 0 and <= 1")

    def regimes(self) -> tuple[Regime, ...]:
        crossed = product(self.optimizers or (None,), self.activations or (None,), self.regularisers or (None,))
        return tuple(Regime(*each) for each in crossed)

    def points(self) -> tuple[Point, ...]:
        """Every training, whole pairs first: all of one seed before the next."""
        return tuple(self._points())

    def _points(self) -> Iterator[Point]:
        arms: tuple[Arm, ...] = ("dense", *self.initialisations)
        for seed, share, regime, arm in product(range(self.seeds), self.widths, self.regimes(), arms):
            yield Point(regime, share, arm, seed)
