"""How sharp a minimum is: by how much the loss can rise in a small box around the active weights.

Keskar et al., ICLR 2017, arXiv 1609.04836, Metric 2.1. Random starts, and the box without its 1, are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from models.data.samples import Samples
from models.evaluation import BATCH
from models.layers import sparse_layers
from models.losses import LossFunction

ITERATIONS = 10
"""Of L-BFGS-B from each start, as published."""

Array = np.ndarray[Any, Any]
Objective = Callable[[Array], tuple[float, Array]]
"""float64 [p] -> a value and its gradient, float64 [p]"""


@dataclass(frozen=True)
class Sharpness:
    """sharpness: 100 (max f - f) / (1 + f), at least 0; loss: f at the weights; parameters: dimensions of the box."""

    sharpness: float
    loss: float
    parameters: int


def sharpness(
    network: nn.Module,
    samples: Samples,
    loss: LossFunction,
    generator: torch.Generator,
    epsilon: float = 1e-3,
    starts: int = 3,
    subspace: int | None = None,
    adaptive: bool = False,
) -> Sharpness:
    """Of the mean loss over all `samples`, in evaluation mode and double precision, by active weights alone.

    The network is left as it was, bit for bit: its weights are never written.

    epsilon   half the box's side, relative to |weight| + 1
    starts    points that the maximum is sought from: the corner that the gradient points to, the others random
    subspace  dimensions of a random subspace to stay in; None for the full space
    adaptive  a box relative to |weight| alone, which a rescaled unit does not change
    """
    objective, weights = _data_loss(network, samples, loss)
    draw = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    basis = None if subspace is None else draw.uniform(-1, 1, (subspace, len(weights)))
    return sharpness_of(objective, weights, draw, epsilon, starts, basis, adaptive)


def sharpness_of(
    objective: Objective,
    x: Array,
    draw: np.random.Generator,
    epsilon: float = 1e-3,
    starts: int = 3,
    basis: Array | None = None,
    adaptive: bool = False,
) -> Sharpness:
    """Of any function at `x`, float64 [p].

    basis  [k, p]: rows that span the subspace, normalised here; None for the full space
    """
    inverse = None if basis is None else basis / np.linalg.norm(basis, axis=1, keepdims=True)
    into = None if inverse is None else np.linalg.pinv(inverse)
    at = x if inverse is None else inverse @ x
    box = epsilon * (np.abs(at) + (0.0 if adaptive else 1.0))

    def moved(z: Array) -> tuple[float, Array]:
        value, gradient = objective(x + z if into is None else x + into @ z)
        return value, gradient if into is None else gradient @ into

    here, slope = moved(np.zeros_like(box))
    points = [np.sign(slope) * box, *(draw.uniform(-box, box) for _ in range(starts - 1))]
    highest = max(here, *(_highest(moved, start, box) for start in points))
    return Sharpness(100 * (highest - here) / (1 + here), here, len(box))


def _highest(objective: Objective, start: Array, box: Array) -> float:
    from scipy.optimize import Bounds, minimize

    def lowest(z: Array) -> tuple[float, Array]:
        value, gradient = objective(z)
        return -value, -gradient

    # Rises are tiny beside 1: tolerances made for ordinary functions would end the search where it starts.
    options = {"maxiter": ITERATIONS, "ftol": 0.0, "gtol": 0.0}
    found = minimize(lowest, start, jac=True, method="L-BFGS-B", bounds=Bounds(-box, box), options=options)
    return -float(found.fun)


def _data_loss(network: nn.Module, samples: Samples, loss: LossFunction) -> tuple[Objective, Array]:
    """The mean loss as a function of the active weights, layer after layer, and those weights."""
    layers = list(sparse_layers(network).values())
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    weights = [layer.values.detach().double() for layer in layers]
    fixed = {
        name: tensor.detach().double() if tensor.is_floating_point() else tensor
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    batches = list(zip(torch.split(samples.x.double(), BATCH), torch.split(samples.y, BATCH), strict=True))

    def value_and_gradient(x: Array) -> tuple[float, Array]:
        values = torch.split(torch.from_numpy(x).to(weights[0].device), [each.numel() for each in weights])
        placed = [layer.scatter(each).requires_grad_() for layer, each in zip(layers, values, strict=True)]
        state = fixed | {names[id(layer.parameter)]: each for layer, each in zip(layers, placed, strict=True)}
        total, gradients = 0.0, [torch.zeros_like(each) for each in placed]
        for batch, labels in batches:
            part = loss(torch.func.functional_call(network, state, (batch,)), labels) * (len(labels) / len(samples))
            total += part.item()
            for gradient, more in zip(gradients, torch.autograd.grad(part, placed), strict=True):
                gradient += more
        at_active = [layer.gather(each) for layer, each in zip(layers, gradients, strict=True)]
        return total, torch.cat(at_active).cpu().numpy()

    def evaluated(x: Array) -> tuple[float, Array]:
        was_training = {module: module.training for module in network.modules()}
        network.eval()
        try:
            return value_and_gradient(x)
        finally:
            for module, training in was_training.items():
                module.training = training

    return evaluated, torch.cat(weights).cpu().numpy()
