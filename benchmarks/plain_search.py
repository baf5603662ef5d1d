"""What one would write without SNAS: Optuna around a masked PyTorch training. Same splits, densities, recipe and seeds.

python -m benchmarks.plain_search SPEC.json DATA_DIR DENSITIES.json: trains each row of densities once, in turn, and
prints the seconds from the first ask to the last tell; the data are loaded and warm before. Of the job it follows the
widths, batch norm, SGD, epochs, batch size and SET; the learning rate falls along a cosine.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import optuna
import torch
from torch import nn
from torch.nn import functional

from models.data.samples import Split, search_split
from models.networks import MLP
from models.optimizers import SGD
from search.spec import JobSpec, parse

optuna.logging.set_verbosity(optuna.logging.ERROR)
torch.set_num_threads(1)


class MaskedLinear(nn.Linear):
    """As in most published code: a dense weight, multiplied by its mask at every forward."""

    mask: torch.Tensor

    def __init__(self, width: int, units: int, density: float) -> None:
        super().__init__(width, units)
        self.density = density
        chosen = torch.randperm(self.weight.numel())[: max(1, round(density * self.weight.numel()))]
        mask = torch.zeros(self.weight.numel())
        mask[chosen] = 1
        self.register_buffer("mask", mask.view_as(self.weight))
        nn.init.kaiming_normal_(self.weight)
        with torch.no_grad():
            self.weight.mul_(self.mask / density**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight if self.density == 1 else self.weight * self.mask, self.bias)

    @torch.no_grad()
    def evolve(self, fraction: float) -> None:
        """SET: the smallest weights of each sign go, as many grow at random."""
        flat, mask = self.weight.view(-1), self.mask.view(-1)
        gone = 0
        for sign in (1, -1):
            signed = ((flat * sign > 0) & (mask > 0)).nonzero().flatten()
            smallest = signed[flat[signed].abs().argsort()[: int(fraction * len(signed))]]
            mask[smallest] = 0
            gone += len(smallest)
        absent = (mask == 0).nonzero().flatten()
        mask[absent[torch.randperm(len(absent))[:gone]]] = 1
        flat.mul_(mask)


def train(spec: JobSpec, split: Split, densities: list[float]) -> float:
    """The held-out loss of one network."""
    shape, recipe = spec.network, spec.training.optimizer
    assert isinstance(shape, MLP), "perceptrons alone"
    assert isinstance(recipe, SGD), "SGD alone"
    sizes = [split.train.x[0].numel(), *shape.widths, split.classes]
    parts: list[nn.Module] = [nn.Flatten()]
    for k, density in enumerate(densities):
        parts.append(MaskedLinear(sizes[k], sizes[k + 1], density))
        if k < len(densities) - 1:
            parts += [nn.BatchNorm1d(sizes[k + 1])] if shape.batch_norm else []
            parts.append(nn.ReLU())
    network = nn.Sequential(*parts)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    epochs, size = spec.training.epochs, spec.training.batch_size
    steps = epochs * -(-len(split.train) // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    fraction = getattr(spec.rewiring, "fraction", 0.0)
    loss = 0.0
    for epoch in range(epochs):
        network.train()
        for batch in torch.split(torch.randperm(len(split.train)), size):
            optimizer.zero_grad()
            batch_loss = functional.cross_entropy(network(split.train.x[batch]), split.train.y[batch])
            batch_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if fraction and epoch < epochs - 1:
            for part in network:
                if isinstance(part, MaskedLinear) and part.density < 1:
                    part.evolve(fraction)
        network.eval()
        with torch.no_grad():
            outputs = torch.cat([network(x) for x in torch.split(split.held_out.x, 512)])
            loss = float(functional.cross_entropy(outputs, split.held_out.y))
    return loss


def search(spec: JobSpec, split: Split, rows: list[list[float]]) -> float:
    """Seconds from the first ask to the last tell."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    names = [f"density_{k}" for k in range(len(rows[0]))]
    for row in rows:
        study.enqueue_trial(dict(zip(names, row, strict=True)))
    began = time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        return train(spec, split, [trial.suggest_float(name, 1e-4, 1.0, log=True) for name in names])

    study.optimize(objective, n_trials=len(rows))
    return time.perf_counter() - began


def main() -> None:
    spec = parse(json.loads(Path(sys.argv[1]).read_text()))
    split = search_split(spec.data.load(Path(sys.argv[2]), seed=0), spec.data.validation, 0)
    rows = json.loads(Path(sys.argv[3]).read_text())
    warm = Split(
        split.train.at(torch.arange(1000)), split.held_out.at(torch.arange(500)), split.classes, split.input_shape
    )
    train(spec, warm, rows[0])
    print(json.dumps({"seconds": search(spec, split, rows)}))


if __name__ == "__main__":
    main()
