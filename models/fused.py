"""Training without autograd: perceptrons made of parts known here take their optimizer steps in compiled code.

What is not known (another optimizer, activation, loss, layer or device) is left to autograd. Both give the same
numbers, to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from models import crossover
from models.data.samples import Samples
from models.kernels import activations, perceptron
from models.layers import Dropout, SparseLinear
from models.layers.compressed import Compressed
from models.layers.sparse_arithmetic import CACHED
from models.optimizer_state import store_as
from models.recipe import Loss

_ACTIVATIONS: dict[type[nn.Module], int] = {
    nn.ReLU: activations.RELU,
    nn.Sigmoid: activations.SIGMOID,
    nn.ELU: activations.ELU,
    nn.SiLU: activations.SILU,
}
_LOSSES: dict[Loss, int] = {"cross_entropy": perceptron.CROSS_ENTROPY, "mse": perceptron.MSE}
_OPTIMIZERS: dict[type[torch.optim.Optimizer], int] = {
    torch.optim.SGD: perceptron.SGD,
    torch.optim.Adam: perceptron.ADAM,
    torch.optim.AdamW: perceptron.ADAMW,
}
_MOMENTS = {perceptron.SGD: ("momentum_buffer",)}
_ADAMS_MOMENTS = ("exp_avg", "exp_avg_sq")

Part = TypeVar("Part", bound=nn.Module)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Block:
    """A layer and what follows it, up to the next."""

    layer: SparseLinear
    norm: nn.BatchNorm1d | None
    activation: nn.Module | None
    dropout: Dropout | None

    @property
    def others(self) -> list[nn.Parameter]:
        """Parameters that do not decay."""
        own = [self.layer.bias, *((self.norm.weight, self.norm.bias) if self.norm else ())]
        return [parameter for parameter in own if parameter is not None]


def blocks(network: nn.Module) -> list[Block] | None:
    """The network in parts known here, whatever the storage of its layers; or None."""
    if type(network) is not nn.Sequential:
        return None
    parts = [part for part in network if not isinstance(part, nn.Flatten)]
    found: list[Block] = []
    while parts:
        if not isinstance(parts[0], SparseLinear):
            return None
        layer = cast(SparseLinear, parts.pop(0))
        norm = _next(parts, nn.BatchNorm1d, lambda norm: norm.affine and norm.momentum is not None)
        activation = _next(parts, nn.Module, lambda part: type(part) in _ACTIVATIONS)
        dropout = _next(parts, Dropout, lambda dropout: dropout.p > 0)
        follows = (norm, activation, dropout)
        if (activation is None) if parts else any(follows):
            return None
        found.append(Block(layer, *follows))
    return found


def choose_storages(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Compresses all layers of a network left open whose steps then take less time, though one of them may take more.

    The optimizer's state follows.
    """
    found = blocks(network)
    if found is None or type(optimizer) not in _OPTIMIZERS:
        return
    layers = [block.layer for block in found]
    if any(layer.asked_storage != "auto" or layer.parameter.device.type != "cpu" for layer in layers):
        return
    active, total = (
        sum(numbers)
        for numbers in zip(*((layer.connections.nnz, layer.connections.total) for layer in layers), strict=True)
    )
    if crossover.in_use().prefers_compressed_perceptron(active, total):
        for layer in layers:
            store_as(layer, "compressed", optimizer)


def _next(parts: list[nn.Module], kind: type[Part], is_known: Callable[[Part], bool]) -> Part | None:
    return cast(Part, parts.pop(0)) if parts and isinstance(parts[0], kind) and is_known(parts[0]) else None


class FusedSteps:
    """The optimizer steps of one network over one set of samples."""

    @classmethod
    def of(
        cls, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, samples: Samples, batch_size: int
    ) -> "FusedSteps | None":
        """None where something is not known here, or layers are so wide that calls cost nothing beside the work."""
        found = blocks(network)
        if found is None or type(optimizer) not in _OPTIMIZERS or samples.x.dtype not in (torch.float32, torch.float64):
            return None
        if any(block.layer.storage != "compressed" for block in found):
            return None
        parameters = list(network.parameters())
        known = all(p.requires_grad and p.device.type == "cpu" and p.dtype == samples.x.dtype for p in parameters)
        widest = max(max(block.layer.in_features, block.layer.out_features) for block in found)
        fits = widest * batch_size * samples.x.itemsize <= CACHED
        return cls(found, optimizer, loss, samples) if known and fits else None

    def __init__(self, blocks: Sequence[Block], optimizer: torch.optim.Optimizer, loss: Loss, samples: Samples) -> None:
        self._blocks, self._optimizer, self._loss = blocks, optimizer, loss
        self._kind = _OPTIMIZERS[type(optimizer)]
        self._x, self._y = samples.x.reshape(len(samples), -1).contiguous().numpy(), samples.y.numpy()

    def __call__(self, batches: Sequence[Tensor], rates: Sequence[float]) -> Tensor:
        """float64 [steps]: the mean loss of each batch, before the step that learns from it.

        batches  int64 [...]  samples of each step;  rates  its learning rate
        """
        held = [block.layer.parameter for block in self._blocks]
        held += [parameter for block in self._blocks for parameter in block.others]
        parameters = torch.cat([parameter.detach().reshape(-1) for parameter in held])
        moments, done = self._moments(held, parameters)
        norms = [block.norm for block in self._blocks if block.norm is not None]
        running = _running(norms, parameters)
        # Drawn as the modules would draw them, step by step.
        seeds = [[block.dropout.seed() if block.dropout else 0 for block in self._blocks] for _ in batches]
        losses = np.empty(len(batches))
        perceptron.learn(
            self._network(max(map(len, batches))),
            self._recipe(),
            parameters.numpy(),
            moments.numpy(),
            running,
            self._x,
            self._y,
            torch.cat(list(batches)).numpy(),
            np.array([len(batch) for batch in batches]),
            np.array(rates, dtype=np.float64),
            np.array(seeds, dtype=np.int64).reshape(len(batches), len(self._blocks)),
            done,
            losses,
        )
        with torch.no_grad():
            for parameter, learned in zip(held, torch.split(parameters, [p.numel() for p in held]), strict=True):
                parameter.copy_(learned.view_as(parameter))
        self._remember(held, moments, done + len(batches))
        _move(norms, running, len(batches))
        return torch.from_numpy(losses)

    def _network(self, batch: int) -> perceptron.Network:
        structures = [cast(Compressed, block.layer.stored).structure for block in self._blocks]
        itemsize = self._x.itemsize
        rows = [structure.by_rows(batch, itemsize) for structure in structures]
        columns = [structure.by_columns(batch, itemsize) for structure in structures[1:]]
        unused = np.zeros(structures[0].nnz + 1, np.int32)  # nothing asks for the gradient of the inputs
        sizes = [structures[0].width, *(structure.outputs for structure in structures)]
        values_at = [0, *accumulate(structure.nnz for structure in structures)]
        biases_at, norms_at, begin = [], [], values_at[-1]
        for block, units in zip(self._blocks, sizes[1:], strict=True):
            biases_at.append(-1 if block.layer.bias is None else begin)
            begin += 0 if block.layer.bias is None else units
            norms_at.append(-1 if block.norm is None else begin)
            begin += 0 if block.norm is None else 2 * units
        normed = [units if block.norm else 0 for block, units in zip(self._blocks, sizes[1:], strict=True)]
        activations = [_ACTIVATIONS[type(block.activation)] for block in self._blocks if block.activation is not None]
        return perceptron.Network(
            sizes=np.array(sizes),
            values_at=np.array(values_at),
            starts_at=_offsets([each.starts for each in rows]),
            starts_t_at=np.concatenate([[0], _offsets([each.starts for each in columns])]),
            biases_at=np.array(biases_at),
            norms_at=np.array(norms_at),
            units_at=np.array([0, *accumulate(normed)][:-1]),
            dropouts=np.array([block.dropout.p if block.dropout else 0.0 for block in self._blocks]),
            activations=np.array(activations),
            starts=np.concatenate([each.starts for each in rows]),
            columns=np.concatenate([each.columns for each in rows]),
            places=np.concatenate([each.places for each in rows]),
            owners=np.concatenate([each.rows for each in rows]),
            starts_t=np.concatenate([np.empty(0, np.int64), *(each.starts for each in columns)]),
            rows=np.concatenate([unused, *(each.rows for each in columns)]),
            owners_t=np.concatenate([unused[:0], *(each.columns for each in columns)]),
            order=np.concatenate([unused[1:], *(each.order for each in columns)]),
        )

    def _recipe(self) -> perceptron.Recipe:
        group = self._optimizer.param_groups[0]
        if self._kind == perceptron.SGD:
            one, two, epsilon = group["momentum"], float(group["nesterov"]), 0.0
        else:
            (one, two), epsilon = group["betas"], group["eps"]
        norm = next((block.norm for block in self._blocks if block.norm is not None), None)
        return perceptron.Recipe(
            loss=_LOSSES[self._loss],
            optimizer=self._kind,
            decay=float(group["weight_decay"]),
            decaying=sum(block.layer.parameter.numel() for block in self._blocks),
            one=float(one),
            two=float(two),
            epsilon=float(epsilon),
            norm_epsilon=float(norm.eps) if norm else 0.0,
            norm_momentum=float(norm.momentum or 0.0) if norm else 0.0,
        )

    def _moments(self, held: Sequence[nn.Parameter], parameters: Tensor) -> tuple[Tensor, int]:
        """[2, p]: the optimizer's state, 0 where there is none yet; and how many steps it has taken."""
        moments = parameters.new_zeros(2, parameters.numel())
        done, begin = 0, 0
        for parameter in held:
            state = self._optimizer.state.get(parameter, {})
            done = int(state.get("step", 0))
            for moment, name in enumerate(_MOMENTS.get(self._kind, _ADAMS_MOMENTS)):
                if state.get(name) is not None:
                    moments[moment, begin : begin + parameter.numel()] = state[name].reshape(-1)
            begin += parameter.numel()
        return moments, done

    def _remember(self, held: Sequence[nn.Parameter], moments: Tensor, done: int) -> None:
        if self._kind == perceptron.SGD and not self._optimizer.param_groups[0]["momentum"]:
            return
        begin = 0
        for parameter in held:
            state = self._optimizer.state[parameter]
            if self._kind != perceptron.SGD:
                state["step"] = torch.tensor(float(done))
            for moment, name in enumerate(_MOMENTS.get(self._kind, _ADAMS_MOMENTS)):
                state[name] = moments[moment, begin : begin + parameter.numel()].view_as(parameter).clone()
            begin += parameter.numel()


def _running(norms: Sequence[nn.BatchNorm1d], like: Tensor) -> Array:
    """[2, units]: mean and variance."""
    none = like.new_empty(0)
    means = [none, *(cast(Tensor, norm.running_mean) for norm in norms)]
    variances = [none, *(cast(Tensor, norm.running_var) for norm in norms)]
    array: Array = torch.stack([torch.cat(means), torch.cat(variances)]).numpy()
    return array


def _move(norms: Sequence[nn.BatchNorm1d], running: Array, steps: int) -> None:
    begin = 0
    for norm in norms:
        end = begin + norm.num_features
        cast(Tensor, norm.running_mean).copy_(torch.from_numpy(running[0, begin:end]))
        cast(Tensor, norm.running_var).copy_(torch.from_numpy(running[1, begin:end]))
        cast(Tensor, norm.num_batches_tracked).add_(steps)
        begin = end


def _offsets(arrays: Sequence[Array]) -> Array:
    return np.array([0, *accumulate(len(each) for each in arrays)], dtype=np.int64)
