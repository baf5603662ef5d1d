"""Paired comparisons over seeds: the signed-rank test, the t interval, Holm's correction."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.05
"""Of the test that carries the verdict; the intervals are 1 - LEVEL."""

ZERO_METHOD = "wilcox: zero differences are left out; p = 1 where all are zero"

DECIMALS = 9
"""Differences of shares are rounded to these, so that equal ones tie whatever the last bits of a float say."""


@dataclass(frozen=True)
class SignedRank:
    """A Wilcoxon signed-rank test. statistic: sum of the ranks of positive differences, two-sided the smaller sum."""

    p: float
    statistic: float
    pairs: int
    zeros: int
    exact: bool


@dataclass(frozen=True)
class Interval:
    """The mean of paired differences; low and high: its 95 % t interval, None with fewer than 2 pairs."""

    mean: float
    low: float | None
    high: float | None

    @property
    def above_zero(self) -> bool:
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high is not None and self.high < 0


def signed_rank(differences: Sequence[float], alternative: Literal["greater", "two-sided"]) -> SignedRank:
    """Exact up to 13 differences other than zero, and up to 50 where no two are equal; else the normal approximation.

    Wilcoxon 1945, Biometrics Bulletin 1(6).
    """
    nonzero = [each for each in (round(difference, DECIMALS) for difference in differences) if each != 0]
    zeros = len(differences) - len(nonzero)
    if not nonzero:
        return SignedRank(p=1.0, statistic=0.0, pairs=len(differences), zeros=zeros, exact=True)
    tied = len({abs(each) for each in nonzero}) < len(nonzero)
    from scipy import stats  # here: only reports need it, and importing it takes every process longer to start

    found = stats.wilcoxon(nonzero, alternative=alternative, method="auto")
    return SignedRank(
        p=float(found.pvalue),
        statistic=float(found.statistic),
        pairs=len(differences),
        zeros=zeros,
        exact=len(nonzero) <= (13 if tied else 50),
    )


def smallest_p(pairs: int) -> float:
    """What the one-sided test gives when every difference is positive. pairs: without those that tie."""
    return float(0.5**pairs)


def interval(differences: Sequence[float]) -> Interval:
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return Interval(mean, None, None)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    from scipy import stats

    reach = float(stats.t.ppf(1 - LEVEL / 2, len(differences) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Corrected for their number, step down. Holm 1979."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = largest
    return corrected
