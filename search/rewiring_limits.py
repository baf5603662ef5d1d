"""Rewirings that a job's network or training does not suit."""

from collections.abc import Sequence
from fractions import Fraction

from models.batches import batch_sizes
from models.data import Text
from models.networks import LanguageModel
from models.networks.recurrent import Recurrent
from models.networks.shapes import LayerShape
from models.rewiring import Moment, NeuronSET, Pruning, RigL, SparseMomentum, Static
from search.faults import fault
from search.spec import JobSpec, dump

LARGEST = 2**28
"""Weights, active or not, for which a training keeps a dense average: a gigabyte in single precision."""


def refuse_unsuitable_rewiring(spec: JobSpec, layers: Sequence[LayerShape], samples: int) -> None:
    """samples: that a trial of the search learns from. Raises: InvalidSpec."""
    _refuse_unseen_gradients(spec)
    _refuse_too_large(spec, sum(layer.total for layer in layers))
    _refuse_idle(spec, len(batch_sizes(samples, spec.training.batch_size, isinstance(spec.data, Text))))


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


def _refuse_idle(spec: JobSpec, each_epoch: int) -> None:
    """A rewiring that never comes would be reported as if it had. each_epoch: optimizer steps."""
    rewiring, epochs = spec.rewiring, spec.training.epochs
    if isinstance(rewiring, Static | Pruning):  # says that it does nothing, or ends with what was asked in any case
        return
    every = "epoch" if isinstance(rewiring, NeuronSET) else rewiring.every
    first, steps = each_epoch if every == "epoch" else every, epochs * each_epoch
    # Rewirings end and do not begin again: one that is too late at its first turn is so at all others.
    if rewiring.due(_moment(min(first, steps), each_epoch, epochs)):
        return
    if rewiring.fraction == 0:
        raise fault("rewiring.fraction", 0.0, "0 is not allowed; that nothing is rewired is said by the kind static")
    if isinstance(rewiring, NeuronSET):
        reason = "neuron_set rewires after each epoch but the last, so that it would never begin"
        raise fault("training.epochs", epochs, f"{epochs} is not allowed; {reason}; it must be at least 2")
    end = Fraction(str(rewiring.until)) * steps
    raise fault(
        "rewiring.every",
        rewiring.every,
        f"{rewiring.every} is not allowed; the first rewiring would come after step {first}, and rewiring ends with "
        f"step {float(end):g} of the {steps} of a trial, so that it would never begin",
    )


def _moment(step: int, each_epoch: int, epochs: int) -> Moment:
    epoch, ends_epoch = -(-step // each_epoch), step % each_epoch == 0
    return Moment(step, epochs * each_epoch, epoch, epochs, ends_epoch)
