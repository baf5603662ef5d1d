"""Forward and backward of one LSTM layer, 650 to 650 units at 10 %, batch 20, 35 steps: compressed against masked."""

from collections.abc import Callable
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.interleaved import medians
from benchmarks.jobs import keep
from models.layers import SparseLSTM
from models.seeds import generator

BATCH, STEPS, UNITS, DENSITY = 20, 35, 650, 0.1


def step(layer: torch.nn.Module, x: torch.Tensor) -> None:
    layer.zero_grad()
    layer(x)[0].sum().backward()


def main() -> None:
    ways: dict[str, Callable[[], object]] = {}
    x = torch.randn(BATCH, STEPS, UNITS, generator=generator(0))
    for storage in ("masked", "compressed"):
        ways[storage] = partial(step, SparseLSTM(UNITS, UNITS, DENSITY, storage, generator(1)), x)
    ways["dense torch"] = partial(step, torch.nn.LSTM(UNITS, UNITS, batch_first=True), x)
    found = medians(ways, seconds=15)
    for name, seconds in found.items():
        print(f"LSTM step {name}: {1000 * seconds:.1f} ms, {found['masked'] / seconds:.2f} times as fast as masked")
    for name in ("masked", "compressed"):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(5):
                ways[name]()
        print(name)
        print(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=8, max_name_column_width=40))
    keep("recurrent_steps", found)


if __name__ == "__main__":
    main()
