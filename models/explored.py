"""How much of a network a training has tried: connections that were active at some time, as a share of all weights.

R_s of in-time over-parameterization, Liu et al., ICML 2021, arXiv 2102.02887, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.connections import Connections
from models.rewired import Rewired


@dataclass(frozen=True, eq=False)
class Explored:
    """Of each layer the connections that have been active: as much memory as they are many, whatever the layer."""

    layers: tuple[Connections, ...]

    def after(self, rewired: Sequence[Rewired | None]) -> "Explored":
        """These and what a rewiring has grown."""
        pairs = zip(self.layers, rewired, strict=True)
        return Explored(tuple(before.joined(after.grown) if after else before for before, after in pairs))

    @property
    def share(self) -> float:
        return sum(layer.nnz for layer in self.layers) / sum(layer.total for layer in self.layers)
