"""What a storage of a sparse layer's weights is: every way to reach them that depends on its form."""

from typing import Protocol

from torch import Tensor, nn

from models.connections import Connections


class Stored(Protocol):
    """Weights of one sparse layer, in a parameter whose shape is the storage's own.

    A tensor "like the parameter" may be the parameter, its gradient or an optimizer's state. `positions` are some of
    the active ones, int64 [k] ascending; None stands for all.
    """

    @property
    def parameter(self) -> nn.Parameter: ...

    @property
    def connections(self) -> Connections: ...

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """[n, in] to [n, out]"""

    def conv2d(
        self,
        x: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int] | str,
        dilation: tuple[int, int],
    ) -> Tensor: ...

    def gather(self, state: Tensor, positions: Tensor | None = None) -> Tensor:
        """[k]: what a tensor like the parameter holds at these active weights."""

    def scatter(self, values: Tensor, elsewhere: Tensor | float, positions: Tensor | None = None) -> Tensor:
        """A tensor like the parameter: `values` [k] at these active weights, `elsewhere` at all others."""

    def replace(self, connections: Connections, values: Tensor) -> None:
        """Other connections and their values; the parameter stays the same object."""

    def weight(self) -> Tensor:
        """[*shape], 0 where absent; gradients pass to the parameter."""

    def count_active(self) -> int:
        """Active connections, counted from what the forward pass uses."""
