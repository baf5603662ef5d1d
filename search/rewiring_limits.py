"""Rewirings that a job's network or training does not suit."""

from collections.abc import Sequence
from fractions import Fraction

from models.data import Text
from models.networks import LanguageModel
from models.networks.recurrent import Recurrent
from models.networks.shapes import LayerShape
from models.rewiring import DSR, SET, RigL, SparseMomentum
from models.training import batch_sizes
from search.faults import fault
from search.spec import JobSpec, dump

LARGEST = 2**28
"""Weights, active or not, for which a training keeps a dense average: a gigabyte in single precision."""


def refuse_unsuitable_rewiring(spec: JobSpec, layers: Sequence[LayerShape], samples: int) -> None:
    """samples: that a trial of the search learns from. Raises: InvalidSpec."""
    _refuse_unseen_gradients(spec)
    _refuse_too_large(spec, sum(layer.total for layer in layers))
    _refuse_idle(
        spec, spec.training.epochs * len(batch_sizes(samples, spec.training.batch_size, isinstance(spec.data, Text)))
    )


def _refuse_unseen_gradients(spec: JobSpec) -> None:
    """Recurrent layers go through all steps at once, and show no gradient of connections that are absent."""
    if isinstance(spec.rewiring, RigL | SparseMomentum) and isinstance(spec.network, Recurrent | LanguageModel):
        raise fault(
            "rewiring.kind",
            spec.rewiring.kind,
            f"{spec.rewiring.kind} grows by the gradients of absent connections, which the layers of "
            f"{spec.network.kind} do not have; it may be set or dsr",
        )


def _refuse_too_large(spec: JobSpec, total: int) -> None:
    if isinstance(spec.rewiring, SparseMomentum) and total > LARGEST:
        raise fault(
            "rewiring",
            dump(spec)["rewiring"],
            f"it keeps an average for each of {total} weights, active or not, and at most {LARGEST} are allowed; "
            "rigl takes no such memory",
        )


def _refuse_idle(spec: JobSpec, steps: int) -> None:
    """A rewiring that never comes would be reported as if it had."""
    rewiring = spec.rewiring
    if not isinstance(rewiring, SET | RigL | DSR | SparseMomentum) or rewiring.every == "epoch":
        return
    if isinstance(rewiring, SET) and rewiring.last_epoch == "prune_only":
        return
    end = Fraction(str(rewiring.until)) * steps
    if rewiring.every >= end:
        raise fault(
            "rewiring.every",
            rewiring.every,
            f"{rewiring.every} is not allowed; rewiring ends with step {float(end):g} of the {steps} of a trial, "
            "so that it would never begin",
        )
