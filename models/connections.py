"""Which connections of one weight tensor are active: exact, and cheap at a million neurons."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.kernels import positions as kernels


@dataclass(frozen=True, eq=False)
class Connections:
    """The active connections of one weight tensor: a value, kept on the CPU whatever device the weights are on.

    shape      (out, in), or (out, in, kernel height, kernel width)
    positions  int64 [nnz]  flat row-major positions of the active weights, ascending, each once

    Raises: ValueError where the positions are not of this form.
    """

    shape: tuple[int, ...]
    positions: Tensor

    def __post_init__(self) -> None:
        positions = self.positions
        if positions.dtype != torch.int64 or positions.ndim != 1 or positions.device.type != "cpu":
            found = f"{positions.dtype} {list(positions.shape)} on {positions.device}"
            raise ValueError(f"positions: {found} is not allowed; it must be int64 [nnz] on the CPU")
        if not kernels.ascends(positions.numpy()):
            raise ValueError("positions must be ascending, each once")
        if positions.numel() and not 0 <= int(positions[0]) <= int(positions[-1]) < self.total:
            found = f"{int(positions[0])}..{int(positions[-1])}"
            raise ValueError(f"positions: {found} is not allowed; shape {self.shape} has 0..{self.total - 1}")

    @classmethod
    def full(cls, shape: tuple[int, ...]) -> "Connections":
        return cls(shape, torch.arange(math.prod(shape)))

    @classmethod
    def from_mask(cls, mask: Tensor) -> "Connections":
        """mask  [*shape]  active where not 0"""
        return cls(tuple(mask.shape), mask.flatten().nonzero().flatten().cpu())

    @property
    def total(self) -> int:
        return math.prod(self.shape)

    @property
    def nnz(self) -> int:
        return self.positions.numel()

    @property
    def density(self) -> float:
        return self.nnz / self.total

    def mask(self) -> Tensor:
        """bool [*shape]"""
        mask = torch.zeros(self.total, dtype=torch.bool)
        mask[self.positions] = True
        return mask.view(self.shape)

    def hash(self) -> str:
        """Hexadecimal SHA-256 of shape and positions: equal exactly where the connections are."""
        digest = hashlib.sha256(repr(tuple(self.shape)).encode())
        digest.update(self.positions.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def sample_absent(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """int64 [count]: absent positions, ascending, uniform without replacement, in O(nnz + count) memory.

        Raises: ValueError where fewer than `count` are absent.
        """
        absent = self.total - self.nnz
        if count > absent:
            raise ValueError(f"count: {count} is not allowed; {absent} of {self.total} connections are absent")
        ranks = _distinct(count, absent, generator)
        found = torch.empty_like(ranks)
        kernels.absent(self.positions.numpy(), ranks.numpy(), found.numpy())
        return found

    def kept(self, removed: Tensor) -> "Connections":
        """Those that are not removed, bool [nnz]."""
        gone = removed.numpy()
        count = self.nnz - int(np.count_nonzero(gone))
        return Connections(self.shape, torch.from_numpy(kernels.without(self.positions.numpy(), gone, count)))

    def grown(self, positions: Tensor) -> "Connections":
        """These and, besides, absent ones, int64 [k] ascending."""
        both = torch.empty(self.nnz + positions.numel(), dtype=torch.int64)
        kernels.merge(self.positions.numpy(), positions.numpy(), both.numpy())
        return Connections(self.shape, both)

    def joined(self, positions: Tensor) -> "Connections":
        """These and others, int64 [k] ascending, some of which may be among these."""
        ours = self.positions
        known = torch.searchsorted(ours, positions, right=True) > torch.searchsorted(ours, positions)
        return self.grown(positions[~known])


def random_connections(shape: tuple[int, ...], count: int, generator: torch.Generator | None = None) -> Connections:
    """`count` connections, uniform among all sets of that size.

    Raises: ValueError where the tensor has fewer weights.
    """
    none = Connections(shape, torch.empty(0, dtype=torch.int64))
    return Connections(shape, none.sample_absent(count, generator))


def places(positions: Tensor, sought: Tensor) -> Tensor:
    """int64 [k]: where each of `sought` stands among `positions`; both ascending, none of `sought` missing there.

    In one walk along both: at millions of connections much faster than a search for each.
    """
    found = torch.empty_like(sought)
    kernels.places(positions.numpy(), sought.numpy(), found.numpy())
    return found


def top_k(scores: Tensor, count: int) -> Tensor:
    """int64 [count]: indices of the `count` highest scores, ascending; ties go to the lower index.

    scores  [n]

    Raises: ValueError where a score is NaN, which has no order, or where there are fewer than `count`.
    """
    if not 0 <= count <= scores.numel():
        raise ValueError(f"count: {count} is not allowed; there are {scores.numel()} scores")
    if bool(scores.isnan().any()):
        raise ValueError("scores must not be NaN")
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    # Which of several equal scores kthvalue or topk take is left open: only the threshold is theirs.
    threshold = scores.kthvalue(scores.numel() - count + 1).values
    chosen = (scores >= threshold).nonzero().flatten()
    surplus = chosen.numel() - count
    if surplus == 0:
        return chosen
    kept = torch.ones_like(chosen, dtype=torch.bool)
    kept[(scores[chosen] == threshold).nonzero().flatten()[-surplus:]] = False
    return chosen[kept]


def _distinct(count: int, limit: int, generator: torch.Generator | None) -> Tensor:
    """int64 [count]: distinct whole numbers below `limit`, ascending, each set equally likely."""
    if 4 * count >= limit:
        return torch.randperm(limit, generator=generator)[:count].sort().values
    numbers = np.empty(0, np.int64)
    while (missing := count - numbers.size) > 0:
        # Twice the repeats to expect, so that one round does nearly always. Of 62 random bits the remainder is uniform
        # to within limit / 2**62; randint(limit) itself may use 32 bits.
        drawn = torch.randint(1 << 62, (missing + missing * count // limit + 8,), generator=generator) % limit
        numbers = kernels.distinct(
            np.sort(np.concatenate([numbers, drawn.numpy()]))
        )  # torch's sort: four times as long
    # What is distinct among independent draws is, given its size, a uniform set; so is what a uniform choice leaves.
    surplus = np.zeros(numbers.size, np.bool_)
    surplus[_distinct(numbers.size - count, numbers.size, generator).numpy()] = True
    return torch.from_numpy(kernels.without(numbers, surplus, count))
