"""Connections are neither gained nor lost: asked for once, counted from the live layers ever after."""

from collections.abc import Mapping, Sequence

from models.layers import SparseLayer


class ConnectionLeak(RuntimeError):
    """A layer does not have the connections that were asked of it. Names the layer, asked and counted.

    The layer is "all", where a rewiring shares a total out over the layers and the sum of them is another.
    """

    def __init__(self, layer: str, asked: int, counted: int) -> None:
        super().__init__(layer, asked, counted)
        self.layer, self.asked, self.counted = layer, asked, counted

    def __str__(self) -> str:
        return f"layer {self.layer}: {self.asked} connections were asked, {self.counted} were counted"


def refuse_leaks(layers: Mapping[str, SparseLayer], asked: Sequence[int] | int) -> None:
    """asked  active connections of each layer, in order; or of all together

    Raises: ConnectionLeak
    """
    if isinstance(asked, int):
        counted = sum(layer.count_active() for layer in layers.values())
        if counted != asked:
            raise ConnectionLeak("all", asked, counted)
        return
    for (name, layer), count in zip(layers.items(), asked, strict=True):
        counted = layer.count_active()
        if counted != count:
            raise ConnectionLeak(name, count, counted)
