"""Parts of a job that are right each for itself, and do not go together."""

from collections.abc import Sequence

from models.networks.shapes import LayerShape
from models.rewiring import SET, NeuronSET, Pruning, Static
from models.rewiring.neurons import hidden_layers
from models.topologies import Random
from search.faults import fault
from search.spec import JobSpec, dump


def refuse_misfits(spec: JobSpec, layers: Sequence[LayerShape]) -> None:
    """Raises: InvalidSpec"""
    _check_start(spec)
    _check_neurons(spec, layers)
    _check_retraining(spec)
    _check_stopping(spec)
    _check_averaging(spec)
    _check_capacity(spec)


def _check_start(spec: JobSpec) -> None:
    if isinstance(spec.rewiring, Pruning) and not isinstance(spec.topology, Random):
        raise fault(
            "topology.kind",
            spec.topology.kind,
            f"{spec.rewiring.kind} starts with every connection, so that no topology places any; it must be random",
        )


def _check_neurons(spec: JobSpec, layers: Sequence[LayerShape]) -> None:
    if isinstance(spec.rewiring, NeuronSET) and not hidden_layers([layer.weight for layer in layers]):
        raise fault(
            "rewiring.kind",
            spec.rewiring.kind,
            "this network has no hidden neurons, which are those between two fully connected layers",
        )


def _check_retraining(spec: JobSpec) -> None:
    retraining, rewiring = spec.retraining, spec.rewiring
    if retraining is None or isinstance(rewiring, Pruning):
        return
    if isinstance(rewiring, Static):
        raise fault("retraining", dump(spec)["retraining"], "static connections are given, so there is none to find")
    starts_dense = "a rewiring that starts with every connection (one_shot, gradual, iterative)"
    if retraining.weights == "rewind":
        reason = f"to rewind takes {starts_dense}: a connection grown later has no weight from before"
        raise fault("retraining.weights", retraining.weights, f"{reason}; with this one, fresh or keep")
    if retraining.per_round < 1:
        raise fault("retraining.per_round", retraining.per_round, f"rounds take {starts_dense}; it must be 1 here")


def _check_stopping(spec: JobSpec) -> None:
    stopping, rewiring = spec.search.stopping, spec.rewiring
    if stopping is None:
        return
    if spec.retraining is not None:
        raise fault(
            "search.stopping",
            dump(spec)["search"]["stopping"],
            "with retraining it must be null: what is compared that early is not yet the structure that is judged",
        )
    if isinstance(rewiring, Pruning) and stopping.from_ < rewiring.sparse_from:
        raise fault(
            "search.stopping.from",
            stopping.from_,
            f"it must be >= {rewiring.sparse_from}: until then networks have more connections than were asked",
        )


def _check_averaging(spec: JobSpec) -> None:
    averaging = spec.training.averaging
    if averaging is not None and averaging.start is None and spec.confirm is not None:
        raise fault(
            "training.averaging.start",
            None,
            "the confirmation's final trains without a validation part, so that nothing would trigger the averaging; "
            "it must be a share of the epochs (or confirm null)",
        )


def _check_capacity(spec: JobSpec) -> None:
    """A confirmation compares at equal capacity, which is that asked for."""
    if spec.confirm is None:
        return
    if isinstance(spec.rewiring, NeuronSET) and spec.rewiring.budget == "shrink":
        reason = "fewer connections remain than were asked, so that arms would differ in capacity; with a confirmation"
        raise fault("rewiring.budget", "shrink", f'{reason} it must be "constant"')
    if isinstance(spec.rewiring, SET) and spec.rewiring.last_epoch == "prune_only":
        reason = "fewer connections remain than were asked, so that arms would differ in capacity; with a confirmation"
        raise fault("rewiring.last_epoch", "prune_only", f'{reason} it must be "skip"')
