"""Effective Gradient Flow: gradients of active weights alone, each layer with an equal say.

Tessera, Hooker and Rosman 2021, arXiv 2102.01670v2 (version 1 divided by the number of active weights)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from models.layers import Dropout, SparseLayer, sparse_layers


def effective_gradient_flow(
    model: nn.Module, loss: Tensor, p: Literal[1, 2], normalize_by_active: bool = False
) -> float:
    """EGF_p = (1/L) Σ ‖g_n‖_p, g_n the gradient of `loss` by the active weights of the n-th of L sparse layers.

    Biases and norms are no layers of it. For the published measure `loss` is the mean data loss over a fixed probe,
    computed inside `probing(model)`; the graph is kept, so that another p or `loss.backward()` may follow.

    normalize_by_active  divide each layer's norm by its number of active weights (the paper's first version)
    Raises: ValueError, if `model` has no sparse layer
    """
    layers = list(sparse_layers(model).values())
    if not layers:
        raise ValueError("effective gradient flow needs a model with sparse layers; sparsify() makes one")
    weights = [layer.connections.nnz if normalize_by_active else 1 for layer in layers]
    return mean_norm(gradients(layers, loss), p, weights)


def gradients(layers: Sequence[SparseLayer], loss: Tensor) -> tuple[Tensor, ...]:
    """Gradient of `loss` by each layer's parameter: 0 where a connection is absent, by the layer's own forward."""
    return torch.autograd.grad(loss, [layer.parameter for layer in layers], retain_graph=True)


def mean_norm(gradients: Sequence[Tensor], p: Literal[1, 2], divisors: Sequence[int]) -> float:
    norms = [torch.linalg.vector_norm(gradient, p, dtype=torch.float64) for gradient in gradients]
    return float(sum((norm / by for norm, by in zip(norms, divisors, strict=True)), torch.zeros(())) / len(norms))


def whole_norm(gradients: Sequence[Tensor], p: Literal[1, 2]) -> float:
    """The norm of all layers' gradients as one vector: what EGF is compared with."""
    norms = [torch.linalg.vector_norm(gradient, p, dtype=torch.float64) for gradient in gradients]
    return float(torch.linalg.vector_norm(torch.stack(norms), p))


@contextmanager
def probing(model: nn.Module) -> Iterator[None]:
    """Batch norm by the batch with its running statistics untouched, dropout off; then every module as it was."""
    was_training = {module: module.training for module in model.modules()}
    tracking = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    model.train()
    for module in model.modules():
        if isinstance(module, Dropout | nn.modules.dropout._DropoutNd):
            module.eval()
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
        for module, training in was_training.items():
            module.training = training
