"""How near the kernels come to dense arithmetic, and what keeps them from it: rates, and the processor's limits.

Shares are of `torch.mm` or of oneDNN's faster layout on the same shapes, both sides in turns in one process. Times are
those of this thread alone, so that other processes' turns do not count; what they do to the caches still does.
"""

import statistics
from argparse import ArgumentParser
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks import limits
from benchmarks.interleaved import Times, Way, own_times
from benchmarks.jobs import keep
from models.connections import random_connections
from models.kernels import conv, linear
from models.kernels.blocks import Rows
from models.kernels.structure import Structure

Array = np.ndarray[Any, Any]

BATCH, DENSITY = 128, 0.1
SHAPES = ((1000, 784), (1000, 1000))
NEAR = 64  # features whose batch stays in the first-level cache
DENSITIES = (0.2, 0.1, 0.05)
CHANNELS, SIDE, IMAGES = 64, 16, 64
GRADIENTS = {"input gradient": (True, False), "weight gradient": (False, True), "both gradients": (True, True)}
CONNECTIONS = 20  # of a unit, in a network of a million neurons
WIDTHS = (30_000, 300_000)


def both(times: Times, name: str, other: str, work: float = 1.0) -> dict[str, float]:
    """How many times as fast as `other` one is: of the medians and of the least times, for `work` as much to do."""
    return {
        "median": work * statistics.median(times[other]) / statistics.median(times[name]),
        "least": work * min(times[other]) / min(times[name]),
    }


def fully_connected(rows: int, width: int, turns: int) -> dict[str, Any]:
    """Each kernel's rate on active weights as a share of torch.mm's, and the same where all it reads is near."""
    dense, x, out = torch.randn(rows, width), torch.randn(width, BATCH), torch.empty(rows, BATCH)
    active = random_connections((rows, width), round(DENSITY * rows * width), torch.Generator().manual_seed(0))
    structure = Structure.of(active.positions.numpy(), (rows, width))
    ways = _kernels(structure) | {"torch.mm": lambda: torch.mm(dense, x, out=out)}
    works = dict.fromkeys(ways, structure.nnz / (rows * width))
    works["both gradients"] *= 2
    for count in (NEAR, 10):  # of a row: 10 are what a block leaves it at this density
        near = _near(rows, count)
        for name in ("forward", "weight gradient"):
            title = f"{name}, {count} of {NEAR} features"
            ways[title], works[title] = _kernels(near)[name], near.nnz / (rows * width)
    times = own_times(ways, turns)
    shares = {name: both(times, name, "torch.mm", works[name]) for name in ways if name != "torch.mm"}
    rate = 2e-9 * rows * width * BATCH / min(times["torch.mm"])
    return {"shape": [rows, width], "torch.mm": rate, "shares": shares}


def _near(rows: int, count: int) -> Structure:
    """So many connections in each row, at random among features that stay in the first-level cache."""
    draw = np.random.default_rng(0)
    columns = [np.sort(draw.choice(NEAR, count, replace=False)) + row * NEAR for row in range(rows)]
    return Structure.of(np.concatenate(columns), (rows, NEAR))


def _kernels(structure: Structure) -> dict[str, Way]:
    # torch's memory begins where a cache line does, as in training; NumPy's need not.
    draw = torch.Generator().manual_seed(1)
    x, dx = (torch.randn(structure.width, BATCH, generator=draw).numpy() for _ in range(2))
    dy, y = (torch.randn(structure.outputs, BATCH, generator=draw).numpy() for _ in range(2))
    values = torch.randn(structure.nnz, generator=draw).numpy()
    grad = np.empty_like(values)
    by_rows, by_columns = structure.by_rows(BATCH, x.itemsize), structure.by_columns(BATCH, x.itemsize)
    ways: dict[str, Way] = {
        "forward": lambda: linear.multiply(by_rows, values, x, values[:0], y),
        "input gradient": lambda: linear.multiply_transposed(by_columns, values, dy, dx),
        "weight gradient": lambda: linear.correlate(by_rows, x, dy, grad),
        "both gradients": lambda: linear.gradients(by_columns, values, x, dy, dx, grad),
    }
    dense = np.zeros((structure.outputs, structure.width), np.float32)
    dense.flat[structure.positions()] = values
    products = dense @ x, dense.T @ dy, (dy @ x.T).flat[structure.positions()]
    made = {"forward": (0,), "input gradient": (1,), "weight gradient": (2,), "both gradients": (1, 2)}
    for name, numbers in made.items():
        for out in (y, dx, grad):
            out.fill(np.nan)
        ways[name]()
        for number in numbers:
            np.testing.assert_allclose((y, dx, grad)[number], products[number], atol=1e-3)
    return ways


def convolution(density: float, turns: int) -> dict[str, Any]:
    """3x3, 64 to 64 channels, 16x16 images, batch 64: how many times as fast as oneDNN's faster layout."""
    shape = (CHANNELS, CHANNELS, 3, 3)
    weight, x = torch.randn(shape), torch.randn(IMAGES, CHANNELS, SIDE, SIDE)
    dy, ways = torch.randn_like(x), dict[str, Way]()
    for name, layout in (("rows", torch.contiguous_format), ("channels last", torch.channels_last)):
        a, w, d = (tensor.contiguous(memory_format=layout) for tensor in (x, weight, dy))
        ways[f"forward, {name}"] = partial(functional.conv2d, a, w, padding=1)
        for gradient, wanted in GRADIENTS.items():
            mask = (*wanted, False)
            ways[f"{gradient}, {name}"] = partial(
                torch.ops.aten.convolution_backward, d, a, w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, mask
            )
    active = random_connections(shape, round(density * weight.numel()), torch.Generator().manual_seed(0))
    structure = Structure.of(active.positions.numpy(), shape)
    there, values = structure.transposed, weight.flatten()[active.positions].numpy()
    inner, inner_dy = (each.permute(1, 2, 3, 0).contiguous().numpy() for each in (x, dy))
    y, dx, none = (torch.empty(inner.shape).numpy(), torch.empty(inner.shape).numpy(), values[:0])
    grad, pairs = np.empty_like(values), ((3, 3), (1, 1), (1, 1), (1, 1))
    rows, by_columns = (structure.starts, structure.columns), (there.starts, there.rows[:-1], there.order)
    ways["forward"] = lambda: conv.convolve(*rows, values, inner, none, y, *pairs)
    ways["input gradient"] = lambda: conv.convolve_transposed(*by_columns, values, inner_dy, dx, *pairs)
    ways["weight gradient"] = lambda: conv.correlate(*rows, inner, inner_dy, grad, *pairs)
    ways["both gradients"] = lambda: conv.gradients(*by_columns, values, inner, inner_dy, dx, grad, *pairs)
    parts = ("forward", *GRADIENTS)
    for part in parts:
        ways[part]()  # the last leaves both gradients
    masked = torch.zeros_like(weight).flatten().index_copy(0, active.positions, torch.from_numpy(values)).view(shape)
    expected = functional.conv2d(x, masked, padding=1)
    gradients = torch.ops.aten.convolution_backward(
        dy, x, masked, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (True, True, False)
    )
    np.testing.assert_allclose(y.transpose(3, 0, 1, 2), expected, atol=1e-3)
    np.testing.assert_allclose(dx.transpose(3, 0, 1, 2), gradients[0], atol=1e-3)
    np.testing.assert_allclose(grad, gradients[1].flatten()[active.positions], atol=1e-2)
    times = own_times(ways, turns)
    dense = {part: min((times[f"{part}, {name}"] for name in ("rows", "channels last")), key=min) for part in parts}
    step = ("forward", "both gradients")
    whole = {
        "ours": [sum(each) for each in zip(*(times[part] for part in step), strict=True)],
        "dense": [sum(each) for each in zip(*(dense[part] for part in step), strict=True)],
    }
    faster = {part: both({"ours": times[part], "dense": dense[part]}, "ours", "dense") for part in parts}
    flops = 2 * weight.numel() * IMAGES * SIDE * SIDE
    rates = {part: 1e-9 * flops * sum(GRADIENTS.get(part, (True,))) / min(dense[part]) for part in parts}
    return {"density": density, "faster": faster, "all": both(whole, "ours", "dense"), "oneDNN": rates}


def wide(turns: int) -> dict[str, Any]:
    """Nanoseconds of a connection between layers of a million-neuron network, and of reading its row at random."""
    found: dict[str, Any] = {}
    for width in WIDTHS:
        draw = np.random.default_rng(0)
        columns = np.sort(draw.integers(0, width, (width, CONNECTIONS), dtype=np.int32), axis=1).ravel()
        starts = np.arange(width + 1) * CONNECTIONS
        matrix = Rows(starts, np.append(columns, np.int32(0)), starts[:-1], np.arange(width, dtype=np.int32))
        x, dy, y, dx = (torch.ones(width, 32).numpy() for _ in range(4))
        values, grad = (torch.ones(columns.size).numpy() for _ in range(2))
        none = values[:0]
        times = own_times(
            {
                "reading": partial(limits.read_rows, x, columns),
                "forward": partial(linear.multiply, matrix, values, x, none, y),
                "input gradient": partial(linear.multiply_transposed_by_rows, matrix, values, dy, dx),
                "weight gradient": partial(linear.correlate, matrix, x, dy, grad),
            },
            turns,
        )
        found[str(width)] = {name: 1e9 * statistics.median(taken) / columns.size for name, taken in times.items()}
    near, far = (found[str(width)] for width in WIDTHS)
    found["times as long"] = {name: far[name] / near[name] for name in near}
    return found


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=60)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    result: dict[str, Any] = {"processor": limits.measured(turns)}
    for name, rate in result["processor"].items():
        print(f"{name}: {rate:.1f} {'GFLOP' if name.startswith('multiply') else 'GB'}/s", flush=True)
    result["fully connected"] = [fully_connected(*shape, turns) for shape in SHAPES]
    for row in result["fully connected"]:
        print(f"{row['shape']}: torch.mm {row['torch.mm']:.0f} GFLOP/s")
        for name, share in row["shares"].items():
            print(f"  {name}: {share['median']:.2f} of its rate (least times {share['least']:.2f})", flush=True)
    result["convolution"] = [convolution(density, max(3, turns // 6)) for density in DENSITIES]
    for row in result["convolution"]:
        together, parts = row["all"], row["faster"].items()
        each = ", ".join(f"{name} {faster['median']:.1f}x" for name, faster in parts)
        print(f"3x3 at {row['density']}: {together['median']:.1f}x (least times {together['least']:.1f}x): {each}")
    result["wide"] = wide(max(3, turns // 10))
    for name, times in result["wide"].items():
        print(f"{name}: " + ", ".join(f"{part} {taken:.1f}" for part, taken in times.items()), flush=True)
    keep("rates", result)


if __name__ == "__main__":
    main()
