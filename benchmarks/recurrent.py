"""Sparse recurrent networks: a language model, waveforms read point by point, and what a compressed step costs.

(a) tiny Shakespeare, its first 300,000 characters (90/5/5 %), character by character: an LSTM of 128 units at 33 % of
    its weights. Dense, static, SET and Selfish-RNN (SET by magnitude, .8 falling along a cosine), equal steps. Each
    training is measured with and without averages (SNT-ASGD, from 40 % of the epochs on), which it does not notice.
(b) MNIST-1D as a sequence of 40 points: a GRU of 64 units, dense and at 20 % of its weights.
(c) forward and backward of one LSTM layer, 650 to 650 units at 10 %, batch 20, 35 steps: compressed against masked.
"""

import math
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.interleaved import medians
from benchmarks.jobs import keep
from models.allocation import erdos_renyi_kernel, uniform
from models.averaging import SNTASGD
from models.data import MNIST1D, Text
from models.data.samples import Split, final_split, search_split
from models.evaluation import evaluate
from models.layers import SparseLSTM
from models.networks import GRU, AnyNetwork, LanguageModel
from models.networks.shapes import LayerShape
from models.optimizers import Adam
from models.recipe import Training
from models.rewiring import SET, AnyRewiring, Static
from models.rewiring.drop import CosineDrop
from models.schedules import Constant
from models.seeds import generator
from models.topologies import Random
from models.training import Run, start

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TEXT = Text(kind="text", name="tinyshakespeare/input.txt", steps=32, limit=300_000)
MODEL = LanguageModel(embedding=64, units=(128,))
RECIPE = Training(
    epochs=5,
    batch_size=32,
    optimizer=Adam(lr=0.004),
    schedule=Constant(),
    clip=1.0,
    averaging=SNTASGD(start=0.4),
)
ARMS: dict[str, tuple[float, AnyRewiring]] = {
    "dense": (1.0, Static()),
    "static": (0.33, Static()),
    "SET": (0.33, SET(fraction=0.3)),
    "Selfish-RNN": (0.33, SET(fraction=0.8, removal="magnitude", drop=CosineDrop())),
}
Allocation = Callable[[Sequence[LayerShape], float], tuple[float, ...]]
WAVE_ARMS: dict[str, tuple[float, Allocation, AnyRewiring]] = {
    "dense": (1.0, uniform, Static()),
    "20 % ERK": (0.2, erdos_renyi_kernel, Static()),
    "20 % ERK, SET": (0.2, erdos_renyi_kernel, SET(fraction=0.3)),
    "20 % uniform": (0.2, uniform, Static()),
}
WAVES = Training(epochs=20, batch_size=100, optimizer=Adam(lr=0.01), clip=1.0)


def begun(
    network: AnyNetwork,
    split: Split,
    density: float,
    rewiring: AnyRewiring,
    recipe: Training,
    seed: int,
    allocation: Allocation = uniform,
) -> Run:
    layers = network.layers(split.input_shape, split.classes)
    densities = allocation(layers, density)
    counts = [round(each * layer.total) for each, layer in zip(densities, layers, strict=True)]
    return start(network, counts, Random(), rewiring, recipe, split, seed)


def language(data_dir: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Validation perplexity of each arm and seed, of the weights and of the averages, and the epochs' curve."""
    split = search_split(TEXT.load(data_dir, 0), TEXT.validation, 0)
    found: dict[str, Any] = {arm: {"weights": [], "averages": [], "curves": [], "seconds": []} for arm in ARMS}
    for seed in seeds:
        for arm, (density, rewiring) in ARMS.items():
            run = begun(MODEL, split, density, rewiring, RECIPE, seed)
            curve = [math.exp(report.loss or 0.0) for report in run.train()]
            plain = math.exp(evaluate(run.network, split.held_out, run.loss, split.classes).loss)
            mine = found[arm]
            mine["weights"].append(plain)
            mine["averages"].append(curve[-1])
            mine["curves"].append(curve)
            mine["seconds"].append(sum(report.seconds for report in run.reports))
            mine["nnz"] = sum(run.reports[-1].nnz)
            print(f"seed {seed} {arm}: {plain:.3f}, of averages {curve[-1]:.3f} {curve}", flush=True)
        keep("recurrent_language", found)  # a run cut short leaves the seeds it has done
    for arm, each in found.items():
        averages = _shown(each["averages"])
        print(f"{arm:12s} {each['nnz']:7d} weights: perplexity {_shown(each['weights'])}, of averages {averages}")
    return found


def waveforms(seeds: Sequence[int]) -> dict[str, Any]:
    """Test accuracy of each arm and seed, %."""
    split = final_split(MNIST1D().load(None, 0))
    found: dict[str, Any] = {arm: {"accuracies": []} for arm in WAVE_ARMS}
    for seed in seeds:
        for arm, (density, allocation, rewiring) in WAVE_ARMS.items():
            run = begun(GRU(units=(64,)), split, density, rewiring, WAVES, seed, allocation)
            found[arm]["accuracies"].append(100 * (list(run.train())[-1].accuracy or 0.0))
            found[arm]["nnz"] = run.reports[-1].nnz
            print(f"GRU seed {seed} {arm} {found[arm]['nnz']}: {found[arm]['accuracies'][-1]:.1f} %", flush=True)
        keep("recurrent_waveforms", found)
    for arm, each in found.items():
        print(f"GRU {arm}: {_shown(each['accuracies'])} %")
    return found


def steps() -> dict[str, float]:
    """Seconds of a forward and backward pass, and where they go."""
    ways: dict[str, Callable[[], object]] = {}
    x = torch.randn(20, 35, 650, generator=generator(0))
    for storage in ("masked", "compressed"):
        ways[storage] = partial(step, SparseLSTM(650, 650, 0.1, storage, generator(1)), x)
    ways["dense torch"] = partial(step, torch.nn.LSTM(650, 650, batch_first=True), x)
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
    return found


def step(layer: torch.nn.Module, x: torch.Tensor) -> None:
    layer.zero_grad()
    layer(x)[0].sum().backward()


def draw(found: dict[str, Any]) -> None:
    figure, axis = plt.subplots(figsize=(6, 3.6))
    for (arm, each), colour in zip(found.items(), ("#555555", "#4878a8", "#d1495b", "#3a9d5d"), strict=True):
        middle = [mean(values) for values in zip(*each["curves"], strict=True)]
        axis.plot(range(1, len(middle) + 1), middle, color=colour, label=arm, marker="o", markersize=3)
    axis.axvline(0.4 * RECIPE.epochs + 0.5, color="#bbbbbb", linewidth=1, linestyle=":")
    axis.set(
        xlabel="epoch (averages from the dotted line on)",
        ylabel="validation perplexity",
        ylim=(4, 12),
        xticks=range(1, RECIPE.epochs + 1),
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, title=f"mean of {len(found['static']['curves'])} seeds", title_fontsize=8)
    figure.tight_layout()
    figure.savefig("docs/images/recurrent.png", dpi=150)


def _shown(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=["steps", "waveforms", "language"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts, seeds = options.parts or ["steps", "waveforms", "language"], range(options.seeds)
    if "steps" in parts:
        steps()
    if "waveforms" in parts:
        waveforms(seeds)
    if "language" in parts:
        draw(language(options.data_dir, seeds))


if __name__ == "__main__":
    main()
