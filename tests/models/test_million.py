"""Networks of many neurons: what they hold in memory, and that the measurement measures them."""

import subprocess
import sys

import torch

from models.connections import random_connections
from models.layers import SparseLinear
from models.layers.compressed import Compressed
from models.seeds import generator

PROGRAM = """
from models.million import Built, epochs
built, *measured = epochs(40, count=2)
assert built.neurons == 3312 + 3 * 40 + 5
assert len(measured) == 2
assert all(0.2 < epoch.churn < 0.4 for epoch in measured)
assert measured[-1].peak < 2**31
"""


def test_the_measurement_trains_and_rewires_every_epoch() -> None:
    """In a process of its own: it changes how memory is freed, and what the smallest number is."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


def test_between_rewirings_a_weight_of_a_wide_layer_takes_less_than_32_bytes() -> None:
    active = random_connections((20, 20_000), 40_000, generator(0))
    layer = SparseLinear(20_000, 20, connections=active, storage="compressed")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for batch in (32, 7):  # an epoch's last is smaller
        x = torch.randn(batch, 20_000, requires_grad=True)
        layer(x).sum().backward()
        optimizer.step()
    assert isinstance(layer.stored, Compressed)
    structure, parameter = layer.stored.structure, layer.parameter
    assert "transposed" not in vars(structure)
    assert parameter.grad is not None
    held = parameter.nbytes + parameter.grad.nbytes + optimizer.state[parameter]["momentum_buffer"].nbytes
    held += structure.nbytes
    assert held <= 32 * layer.count_active()
