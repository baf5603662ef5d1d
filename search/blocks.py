"""Residual blocks that a search switches off: the layers that are left, and what follows from them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from models.networks import AnyNetwork
from models.networks.resnet import ResNet
from models.networks.shapes import LayerShape
from search.faults import fault

T = TypeVar("T")

PATH = "network.blocks."
"""Before the number of a block, from 1 as in the names of its layers: a choice whose values are true and false."""


def present(network: AnyNetwork, layers: Sequence[LayerShape]) -> tuple[LayerShape, ...]:
    """Of the layers of the job's own network those that this one has."""
    absent = network.absent if isinstance(network, ResNet) else frozenset()
    return tuple(layer for layer in layers if layer.name not in absent)


def over_all(network: AnyNetwork, layers: Sequence[LayerShape], values: Sequence[T], absent: T) -> list[T]:
    """One value for each of the job's layers, from those of the layers that this network has."""
    own = dict(zip((layer.name for layer in present(network, layers)), values, strict=True))
    return [own.get(layer.name, absent) for layer in layers]


def switched(network: Mapping[str, Any], path: str, on: Any) -> list[bool] | None:
    """The setting `blocks` with one of them on or off.

    network  as JSON; path: of the choice

    Raises: InvalidSpec where there is no such block, or `on` is neither true nor false
    """
    if network.get("kind") != "resnet":
        raise fault(path, on, "only a resnet has residual blocks to switch off")
    number, count = path.removeprefix(PATH), int(network.get("depth", ResNet.depth)) // 2 - 1
    if number not in [str(each) for each in range(1, count + 1)]:
        raise fault(path, on, f"there is no block {number}; this network has blocks 1 to {count}")
    if not isinstance(on, bool):
        raise fault(path, on, f"{on!r} is not allowed; a block is there (true) or not (false)")
    before = network.get("blocks")
    if before is None and on:
        return None
    found = list(before) if before is not None else [True] * count
    found[int(number) - 1] = on
    return found


def refuse_needed(own: AnyNetwork, varied: AnyNetwork) -> None:
    """Raises: InvalidSpec where a block that begins a stage would be switched off."""
    if not (isinstance(own, ResNet) and isinstance(varied, ResNet)):
        return
    off = {name for name in varied.absent - own.absent if int(name[5:].split("_")[0]) not in varied.spare}
    if off:
        number = min(int(name[5:].split("_")[0]) for name in off)
        raise fault(
            f"{PATH}{number}",
            False,
            f"block {number} cannot be switched off: it begins a stage, and its shortcut is not the identity; "
            f"these can: {', '.join(map(str, varied.spare)) or 'none'}",
        )
