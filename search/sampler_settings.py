"""Which sampler proposes the points of a search: what a job may name. All are Optuna's own."""

from typing import Annotated, Literal

from annotated_types import Interval

from models.types import ByKind, setting


@setting
class TPE:
    """Tree-structured Parzen estimator. Bergstra et al., NIPS 2011."""

    kind: Literal["tpe"] = "tpe"


@setting
class RandomSampler:
    """Every parameter uniform in its range. Bergstra and Bengio, JMLR 13, 2012."""

    kind: Literal["random"] = "random"


@setting
class GP:
    """Bayesian optimisation with a Gaussian process and expected improvement. Jones et al. 1998, JGO 13."""

    kind: Literal["gp"] = "gp"


@setting
class NSGA2:
    """Generations of points, crossed over, ranked by dominance and crowding. Deb et al., IEEE TEVC 6(2), 2002.

    population  trials of a generation; None: a quarter of the trials, at least 4
    """

    kind: Literal["nsga2"] = "nsga2"
    population: Annotated[int, Interval(ge=2, le=10_000)] | None = None

    def size(self, trials: int) -> int:
        return max(4, trials // 4) if self.population is None else self.population


@setting
class CMAES:
    """Covariance matrix adaptation, of one objective. Hansen and Ostermeier, Evol. Comput. 9(2), 2001."""

    kind: Literal["cma_es"] = "cma_es"


@setting
class QMC:
    """A scrambled Sobol' sequence: fills the space evenly, learns nothing. Bergstra and Bengio, JMLR 13, 2012."""

    kind: Literal["qmc"] = "qmc"


AnySampler = Annotated[TPE | RandomSampler | GP | NSGA2 | CMAES | QMC, ByKind()]
