"""The optimizer steps of a cohort: one batched forward and backward, one element-wise update for all."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.cohorts.stack import Stack
from models.optimizer_state import is_per_weight

if TYPE_CHECKING:
    from models.training import Run, Stretch


def take(runs: Sequence["Run"], stretches: Sequence["Stretch"]) -> Tensor:
    """float64 [K, steps]: the mean loss of each batch, before the step that learns from it.

    stretches  of each run; equally long, of equal batch sizes and learning rates
    """
    stack = Stack([run.network.train() for run in runs])
    optimizer = _stacked_optimizer(runs, stack)
    losses = []
    for batches, rate in zip(zip(*(each.batches for each in stretches), strict=True), stretches[0].rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, y = (torch.stack(parts) for parts in zip(*map(_samples, runs, batches), strict=True))
        found = torch.vmap(runs[0].loss)(stack(x), y)
        optimizer.zero_grad()
        found.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(found.detach())
    _hand_back(runs, stack, optimizer)
    stack.unstack(len(losses))
    return torch.stack(losses, dim=1).double().cpu()


def _samples(run: "Run", batch: Tensor) -> tuple[Tensor, Tensor]:
    samples = run.split.train.at(batch.to(run.split.train.x.device))
    return run.prepared(samples.x), samples.y


def _stacked_optimizer(runs: Sequence["Run"], stack: Stack) -> torch.optim.Optimizer:
    """The runs' optimizer over stacked parameters, its state theirs."""
    first = runs[0].optimizer
    stacked = {id(parameter): stack.parameters[name] for name, parameter in runs[0].network.named_parameters()}
    groups = [group | {"params": [stacked[id(each)] for each in group["params"]]} for group in first.param_groups]
    optimizer = type(first)(groups)  # type: ignore[call-arg] # every option travels in the groups
    for name, parameter in runs[0].network.named_parameters():
        if parameter in first.state:
            states = [run.optimizer.state[run.network.get_parameter(name)] for run in runs]
            optimizer.state[stack.parameters[name]] = _stacked(states, parameter)
    return optimizer


def _stacked(states: Sequence[Mapping[str, Any]], parameter: Tensor) -> dict[str, Any]:
    """What is kept for each weight, stacked; what is kept once (a step count) is the same in all, and copied."""
    return {
        name: torch.stack([each[name] for each in states]) if is_per_weight(value, parameter) else _copy(value)
        for name, value in states[0].items()
    }


def _hand_back(runs: Sequence["Run"], stack: Stack, optimizer: torch.optim.Optimizer) -> None:
    for k, run in enumerate(runs):
        for name, parameter in run.network.named_parameters():
            stacked = stack.parameters[name]
            run.optimizer.state[parameter] = {
                key: value[k].clone() if is_per_weight(value, stacked) else _copy(value)
                for key, value in optimizer.state[stacked].items()
            }
        for group, done in zip(run.optimizer.param_groups, optimizer.param_groups, strict=True):
            group["lr"] = done["lr"]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
