"""Where connections grow: exact numbers among the absent ones, by their scores or by chance."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from models.connections import Connections, top_k


def highest(kept: Connections, blocks: Iterable[tuple[int, Tensor]], count: int) -> Tensor:
    """int64 [count]: the absent positions with the largest scores by magnitude, ascending; ties go to the lower one.

    blocks  scores [k] of all positions, piece by piece in their order, each with its first position; no other memory
            than that of a piece is taken

    Raises: ValueError where fewer than `count` absent positions have a score that is a number
    """
    positions, scores = torch.empty(0, dtype=torch.int64), torch.empty(0)
    if count == 0:
        return positions
    for begin, block in blocks:
        candidates = block.abs()
        here = kept.positions
        here = here[torch.searchsorted(here, begin) : torch.searchsorted(here, begin + len(block))]
        candidates[here - begin] = -math.inf  # not 0: an absent weight may have a gradient of 0 and still be chosen
        # What is not above the least of those found comes after it in any case: it is at a higher position.
        least = float(scores.min()) if len(positions) == count else -math.inf
        better = (candidates > least).nonzero().flatten()
        positions = torch.cat([positions, better + begin])
        scores = torch.cat([scores.to(candidates), candidates[better]])
        chosen = top_k(scores, min(count, len(scores)))
        positions, scores = positions[chosen], scores[chosen]
    if len(positions) < count:
        raise ValueError(f"count: {count} is not allowed; {len(positions)} absent connections have a finite score")
    return positions


def preferring(kept: Connections, later: Connections, count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: absent positions, ascending, at random: those in `later` only where there are no others left.

    later  all of `kept`, and what is to be grown last
    """
    first = later.sample_absent(min(count, later.total - later.nnz), generator)
    rest = kept.grown(first).sample_absent(count - len(first), generator)
    return torch.cat([first, rest]).sort().values
