"""Networks as a topology sees them, before their first step."""

from dataclasses import replace

from small_problem import IMAGE, classes_in_space

from models.data.samples import Split
from models.losses import loss_function
from models.networks import MLP, VGG, AnyNetwork
from models.networks.shapes import LayerShape
from models.placement import untrained
from models.topologies import AnyTopology, Random
from models.untrained import Untrained

PERCEPTRON = MLP(widths=(16, 10))
CONVOLUTIONAL = VGG(channels=(8, "pool", 12), widths=(16,), batch_norm=True)


def seen(
    network: AnyNetwork = PERCEPTRON, split: Split | None = None, topology: AnyTopology | None = None, seed: int = 1
) -> Untrained:
    split = split or classes_in_space(IMAGE if network.kind == "vgg" else (12,))
    return untrained(topology or Random(), network, "cross_entropy", split, seed, data_dir=None)


def shapes(*weights: tuple[int, ...], names: tuple[str, ...] = ()) -> tuple[LayerShape, ...]:
    return tuple(LayerShape(names[n] if names else f"layer{n + 1}", weight) for n, weight in enumerate(weights))


def of_shapes(*weights: tuple[int, ...]) -> Untrained:
    """Shapes alone: what asks for more than them fails."""

    def build() -> None:
        raise AssertionError("this network has shapes alone")

    return Untrained(shapes(*weights), classes_in_space().train, loss_function("cross_entropy", 3), None, build)


def with_layers(network: Untrained, *names: str) -> Untrained:
    return replace(network, layers=tuple(layer for layer in network.layers if layer.name in names))
