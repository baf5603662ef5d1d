"""RadiX-Nets: every input reaches every output by the same number of paths. Robinett and Kepner 2019, arXiv 1905.00416.

Layer i of the mixed-radix topology links unit u to u + j·v modulo N', for j below the radix N_i, v its place value;
the Kronecker product with a matrix of ones, D_{i-1} x D_i, widens it.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, MinLen
from torch import Tensor

from models.connections import Connections
from models.networks.shapes import LayerShape
from models.topologies.channels import replicated
from models.topologies.dictating import Dictating
from models.types import Count, setting
from models.untrained import Untrained

Radix = Annotated[int, Ge(2)]


@setting
class RadixNet(Dictating):
    """No chance in it. One radix for each layer that is not kept dense, one width more.

    systems  mixed-radix systems; each has the product N', the last may have a divisor of it
    widths   D_0, D_1, ...: layer i joins D_{i-1} N' units, or channels of a convolution, with D_i N'. The defaults are
             the authors' for 784-300-100 with a dense output layer

    Where the network has fewer inputs than D_0 N', the first ones are left out, as the authors' code does for 784 of
    800. In convolutions a link owns the whole kernel between two channels; a linear layer after them, all positions of
    a channel.
    """

    kind: Literal["radix_net"] = "radix_net"
    systems: Annotated[tuple[Annotated[tuple[Radix, ...], MinLen(1)], ...], MinLen(1)] = ((10, 10),)
    widths: tuple[Count, ...] = (8, 3, 1)

    def __post_init__(self) -> None:
        if not self.systems or any(not system or min(system) < 2 for system in self.systems):
            raise ValueError(f"RadixNet.systems: {self.systems} is not allowed; each needs radices, all >= 2")
        products = [math.prod(system) for system in self.systems]
        if len(set(products[:-1])) > 1 or self.modulus % products[-1]:
            raise ValueError(
                f"RadixNet.systems: {products} are not allowed as products; all must be equal, the last may divide them"
            )
        radices = sum(len(system) for system in self.systems)
        if len(self.widths) != radices + 1 or min(self.widths) < 1:
            raise ValueError(
                f"RadixNet.widths: {self.widths} is not allowed; {radices} radices need {radices + 1} widths >= 1"
            )

    @property
    def modulus(self) -> int:
        """N', the units of the mixed-radix topology."""
        return math.prod(self.systems[0])

    @property
    def digits(self) -> list[tuple[int, int]]:
        """(radix, place value) of each layer."""
        return [
            (radix, place)
            for system in self.systems
            for radix, place in zip(system, accumulate(system[:-1], int.__mul__, initial=1), strict=True)
        ]

    @property
    def paths(self) -> int:
        """How many lead from each input to each output."""
        inner = math.prod(self.widths[1:-1])
        last = math.prod(self.systems[-1])
        return inner if len(self.systems) == 1 else self.modulus ** (len(self.systems) - 2) * last * inner

    def counts(self, layers: Sequence[LayerShape], data_dir: Path | None) -> tuple[int, ...]:
        del data_dir
        self._refuse_misfits(layers)
        # Each input of a layer has radix * width links, so those left out take that many each with them.
        per_input = [radix * width for (radix, _), width in zip(self.digits, self.widths[1:], strict=True)]
        return tuple(links * math.prod(layer.weight[1:]) for links, layer in zip(per_input, layers, strict=True))

    def place(self, network: Untrained, generator: torch.Generator) -> list[Connections]:
        del generator
        return [self._connections(layer, number) for number, layer in enumerate(network.layers)]

    def _connections(self, layer: LayerShape, number: int) -> Connections:
        out, into = layer.weight[:2]
        units = self.widths[number] * self.modulus
        dropped = max(units - into, 0)
        outputs = torch.arange(out)
        columns = self._sources(outputs, number).sort(dim=1).values
        blocks = (columns[:, None] + self.modulus * torch.arange(self.widths[number])[:, None]).flatten(1)
        links = (outputs[:, None] * (units - dropped) + blocks - dropped)[blocks >= dropped]
        return replicated(layer.weight, links, layer.total // (out * (units - dropped)))

    def _sources(self, outputs: Tensor, number: int) -> Tensor:
        """[n, radix]: the units below N' that link to each of these."""
        radix, place = self.digits[number]
        return (outputs[:, None] - place * torch.arange(radix)) % self.modulus

    def _refuse_misfits(self, layers: Sequence[LayerShape]) -> None:
        names = ", ".join(layer.name for layer in layers)
        if len(layers) != len(self.digits):
            raise ValueError(
                f"systems: {len(self.digits)} radices are not allowed; {len(layers)} layers are not kept dense "
                f"({names})"
            )
        for number, layer in enumerate(layers):
            into, out = (width * self.modulus for width in self.widths[number : number + 2])
            if layer.outputs != out:
                raise ValueError(f"widths: {layer.name} has {layer.outputs} outputs, which must be {out}")
            given = layer.weight[1]
            if number == 0:
                self._refuse_inputs(layer, into)
            elif given != into and (given % into or len(layer.weight) > 2 or len(layers[number - 1].weight) == 2):
                raise ValueError(f"widths: {layer.name} has {given} inputs, which must be {into}")

    def _refuse_inputs(self, layer: LayerShape, units: int) -> None:
        given = layer.weight[1]
        if not units - self.modulus < given <= units:
            raise ValueError(
                f"widths: {layer.name} has {given} inputs, which must be {units}, or fewer by less than {self.modulus}"
            )
        if given == units or self.widths[0] > 1:
            return
        lost = self._sources(torch.arange(self.modulus), 0) < units - given
        if bool(lost.all(dim=1).any()):
            raise ValueError(
                f"widths: {layer.name} has {given} inputs; {units - given} of {units} left out leave a unit without any"
            )
