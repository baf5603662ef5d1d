"""Capacity: active weights and multiply-adds, what a budget can reach, and the dense network of the same capacity."""

from collections.abc import Sequence

from models.networks import AnyNetwork
from models.networks.shapes import LayerShape
from search.spec import Budget


def weights(layers: Sequence[LayerShape]) -> int:
    """All weights, active or not; biases and norms are not counted."""
    return sum(layer.total for layer in layers)


def macs(layers: Sequence[LayerShape], nnz: Sequence[int]) -> int:
    """Multiply-adds per sample: each active weight once for every output position that it serves."""
    return sum(count * layer.positions for layer, count in zip(layers, nnz, strict=True))


def flops(layers: Sequence[LayerShape], nnz: Sequence[int]) -> int:
    """Operations of one forward pass per sample: a multiplication and an addition for each multiply-add, one addition
    for each output (its bias, or the shift of its norm). Activations, pools and a norm's scale are not counted."""
    return 2 * macs(layers, nnz) + sum(layer.outputs * layer.positions for layer in layers)


def prunable(network: AnyNetwork, layers: Sequence[LayerShape]) -> tuple[LayerShape, ...]:
    """The layers whose density is searched: all but those that the network keeps dense."""
    return tuple(layer for layer in layers if layer.name not in network.keep_dense)


def with_kept(network: AnyNetwork, layers: Sequence[LayerShape], counts: Sequence[int]) -> tuple[int, ...]:
    """The counts of all layers, from those of the prunable ones; layers kept dense are full."""
    rest = iter(counts)
    return tuple(layer.total if layer.name in network.keep_dense else next(rest) for layer in layers)


def kept_weights(network: AnyNetwork, layers: Sequence[LayerShape]) -> int:
    return weights(layers) - weights(prunable(network, layers))


def budget_weights(space: Budget, layers: Sequence[LayerShape]) -> int:
    """The exact total of active weights that a budget asks for."""
    return space.total(weights(layers))


def reach(network: AnyNetwork, layers: Sequence[LayerShape]) -> tuple[int, int]:
    """The smallest and the largest possible budget: one weight per output unit and the layers kept dense, or all."""
    smallest = sum(layer.outputs for layer in prunable(network, layers)) + kept_weights(network, layers)
    return smallest, weights(layers)


def same_capacity(network: AnyNetwork, input_shape: tuple[int, ...], classes: int, most: int) -> AnyNetwork | None:
    """The dense network of the same depth, hidden widths times one factor, with the largest total not above `most`.

    None where even hidden widths of 1 have more weights.
    """

    def total(factor: float) -> int:
        return weights(network.scaled(factor).layers(input_shape, classes))

    if total(0.0) > most:
        return None
    if total(1.0) <= most:
        return network
    # The total is a rising step function of the factor: halve until no step is left between the two ends.
    fits, exceeds = 0.0, 1.0
    while (middle := (fits + exceeds) / 2) not in (fits, exceeds):
        if total(middle) <= most:
            fits = middle
        else:
            exceeds = middle
    return network.scaled(fits)
