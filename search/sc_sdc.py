"""Sparse against dense at the same capacity, layer by layer: SC-SDC. What is trained, all of it known from the start.

Tessera, Hooker and Rosman 2021, arXiv 2102.01670: random connections before training, fixed while it lasts.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from models.networks import AnyNetwork
from models.networks.shapes import LayerShape
from models.optimizers import AnyOptimizer
from models.recipe import Augmentation, Training
from models.rewiring import Static
from models.seeds import derive
from search.faults import fault
from search.points import Assignment
from search.sc_sdc_setting import Point, Regime, ScSdc
from search.spec import JobSpec, dump


def assignment(
    spec: JobSpec, layers: Sequence[LayerShape], input_shape: tuple[int, ...], classes: int, ordinal: int, trial: int
) -> Assignment:
    """The training of this ordinal, of a job whose wide network has `layers`.

    A pair shares its seed: the order of its data, and the normal numbers that its first weights are made of.

    Raises: ValueError, where a dense layer has more weights than the wide one has connections
    """
    point = comparison(spec).points()[ordinal]
    narrow = dense_twin(spec, point.share).layers(input_shape, classes)
    counts = tuple(layer.total for layer in narrow)
    for layer, wide in zip(narrow, layers, strict=True):
        if layer.total > wide.total:
            raise ValueError(f"{layer.name}: {layer.total} dense weights do not fit into {wide.total} connections")
    network = spec.network if point.arm != "dense" else dense_twin(spec, point.share)
    return Assignment(
        stage="search",
        ordinal=ordinal,
        seed=derive(spec.seed, "sc_sdc", point.seed),
        label=label(point),
        trial=trial,
        network=_network(network, point.regime),
        rewiring=Static() if point.arm == "dense" else spec.rewiring,
        counts=counts,
        training=_training(spec.training, point.regime, comparison(spec).weight_decay),
        fan_in=tuple(math.prod(layer.weight[1:]) for layer in narrow) if point.arm == "same_dist" else None,
    )


def comparison(spec: JobSpec) -> ScSdc:
    assert isinstance(spec.search.space, ScSdc)
    return spec.search.space


def dense_twin(spec: JobSpec, share: float) -> AnyNetwork:
    """The narrow network: the same depth, hidden widths and channels times `share`."""
    return spec.network.scaled(share)


def label(point: Point) -> str:
    """`dense 0.3 adam relu batch_norm`"""
    return " ".join((point.arm, f"{point.share:g}", *names(point.regime).values())).strip()


def names(regime: Regime) -> dict[str, str]:
    """The regime in words; what is as the job says is left out."""
    found: dict[str, str] = {}
    if regime.optimizer is not None:
        found["optimizer"] = _named(regime.optimizer)
    if regime.activation is not None:
        found["activation"] = regime.activation
    if regime.regularisers is not None:
        found["regularisers"] = "+".join(regime.regularisers) or "none"
    return found


def refuse(spec: JobSpec, layers: Sequence[LayerShape], input_shape: tuple[int, ...], classes: int) -> None:
    """What only shapes and the rest of the job can show. Raises: InvalidSpec."""
    space = comparison(spec)
    given = dump(spec)
    if spec.network.keep_dense:
        raise fault("network.keep_dense", given["network"]["keep_dense"], "is not allowed with sc_sdc; it must be []")
    if not _has(spec.network, "activation"):
        # What is drawn for a width that no connection changes cannot be made to fit the dense twin.
        raise fault("network", given["network"], f"a {spec.network.kind} is not compared by sc_sdc")
    for number, chosen in enumerate(space.regularisers):
        field = f"search.space.regularisers.{number}"
        if "augmentation" in chosen and spec.training.augmentation == Augmentation():
            raise fault(field, list(chosen), "augmentation needs training.augmentation, which says what it is")
        optimizers = space.optimizers or (spec.training.optimizer,)
        without = [each.kind for each in optimizers if not _has(each, "weight_decay")]
        if "weight_decay" in chosen and without:
            raise fault(field, list(chosen), f"{without[0]} has no weight decay")
    for regime in space.regimes():
        changes = _changes(spec.network, regime)
        missing = [name for name in changes if not _has(spec.network, name)]
        if missing:
            raise fault("network", given["network"], f"a {spec.network.kind} has no {missing[0]}, which sc_sdc changes")
        try:
            replace(spec.network, **changes)
        except ValueError as error:
            raise fault("network", given["network"], str(error)) from None
    for number, share in enumerate(space.widths):
        narrow = dense_twin(spec, share).layers(input_shape, classes)
        if len(narrow) != len(layers):
            raise fault(f"search.space.widths.{number}", share, "the narrow network has not the depth of the wide one")


def _network(network: AnyNetwork, regime: Regime) -> AnyNetwork:
    changed: AnyNetwork = replace(network, **_changes(network, regime))
    return changed


def _changes(network: AnyNetwork, regime: Regime) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if regime.activation is not None:
        found["activation"] = regime.activation
    if regime.regularisers is not None:
        found["batch_norm"] = "batch_norm" in regime.regularisers
        if _has(network, "skip") or "skip" in regime.regularisers:
            found["skip"] = "skip" in regime.regularisers
    return found


def _training(training: Training, regime: Regime, weight_decay: float) -> Training:
    optimizer = regime.optimizer or training.optimizer
    if regime.regularisers is None:
        return replace(training, optimizer=optimizer)
    if _has(optimizer, "weight_decay"):
        decay: Any = {"weight_decay": weight_decay if "weight_decay" in regime.regularisers else 0.0}
        optimizer = replace(optimizer, **decay)
    augmentation = training.augmentation if "augmentation" in regime.regularisers else Augmentation()
    return replace(training, optimizer=optimizer, augmentation=augmentation)


def _named(optimizer: AnyOptimizer) -> str:
    """Its kind, and what is not its default: two of a kind are told apart."""
    plain = type(optimizer)()
    changed = [
        f"{field.name}={getattr(optimizer, field.name):g}"
        for field in fields(optimizer)
        if field.name != "kind" and getattr(optimizer, field.name) != getattr(plain, field.name)
    ]
    return " ".join((optimizer.kind, *changed))


def _has(setting: Any, name: str) -> bool:
    return name in {field.name for field in fields(setting)}
