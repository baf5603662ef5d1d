"""Memory that trainings free: kept for good once it is, so by processes of their own; and where outputs lie in it."""

import platform
import subprocess
import sys
from math import prod

import pytest
import torch
from torch.nn import functional

from models import memory
from models.layers import SparseConv2d, SparseLinear
from models.seeds import generator

PROGRAM = """
import resource, torch
from models.memory import allocate, keep_memory, release_memory
{setting}

def held():
    (line,) = [line for line in open("/proc/self/smaps_rollup") if line.startswith("Rss:")]
    return int(line.split()[1]) * 1024

def step():
    x = allocate(2**24).fill_(1)
    return x, allocate(2**24).fill_(1)

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
faults, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, held()
release_memory()
print(faults, kept - held())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what other C libraries do is theirs")


def run(setting: str) -> tuple[int, int]:
    """Page faults of ten steps that take 32 MiB each; bytes that were still held, and were then released."""
    command = [sys.executable, "-c", PROGRAM.format(setting=setting)]
    faults, released = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    return int(faults), int(released)


@glibc
def test_steps_reuse_what_they_freed_and_no_more_until_it_is_released() -> None:
    faults, released = run("keep_memory()")
    assert faults < 20
    assert 30 * 2**20 < released < 40 * 2**20


@glibc
def test_pieces_larger_than_asked_return_at_once() -> None:
    faults, released = run("keep_memory(2**20)")
    assert faults >= 10 * 2**25 // 2**21  # a page has 4 KiB, or 2 MiB
    assert released < 2**20


@glibc
def test_where_glibc_accepts_no_such_size_it_is_asked_for_a_smaller_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Old:
        """As glibc before 2.35."""

        def mallopt(self, parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return int(parameter == -1 or value <= 2**25)

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Old())
    monkeypatch.setattr(memory, "_kept", False)
    memory.keep_memory()
    assert asked == [(-3, 2**28), (-3, 2**25), (-1, 2**31 - 1)]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_large_outputs_begin_at_a_cache_line_and_not_whole_pages_from_their_source(
    kind: str, shift: int, dtype: torch.dtype, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_kept", kept)
    draw = generator(0)
    batch, inputs = 128, (600,) if kind == "linear" else (6, 10, 10)
    # Of a few numbers more, as the kernels take it: batch innermost.
    room = torch.randn(batch * prod(inputs) + 4, generator=draw, dtype=dtype)
    x = room[shift : shift + batch * prod(inputs)].view(*inputs, batch).movedim(-1, 0).requires_grad_()
    layer: SparseLinear | SparseConv2d
    if kind == "linear":
        layer = SparseLinear(600, 500, 0.1, storage="compressed", generator=draw).to(dtype)
    else:
        layer = SparseConv2d(6, 5, 3, padding=1, density=0.5, storage="compressed", generator=draw).to(dtype)
    y = layer(x)
    dy = torch.randn((*y.shape[1:], batch), generator=draw, dtype=dtype).movedim(-1, 0)
    (dx,) = torch.autograd.grad(y, x, dy, retain_graph=True)
    for outputs, source in ((y, x), (dx, dy)):
        assert outputs.nbytes >= 2**17, "large enough to lie apart"
        assert outputs.data_ptr() % 64 == 0
        assert (outputs.data_ptr() - source.data_ptr() // 64 * 64) % 4096 == 3328
    weight = layer.to_dense().detach()
    bias = layer.bias
    expected = functional.linear(x, weight, bias) if kind == "linear" else functional.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dx, torch.autograd.grad(expected, x, dy)[0], atol=1e-4, rtol=1e-4)
    learned = layer(x).relu_()  # in place, as if it had its storage to itself
    learned.sum().backward()
    assert layer.parameter.grad is not None
