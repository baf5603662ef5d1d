"""Ascending positions, walked along once instead of sorted or searched.

What comes next is as good as random, so the walks take no branch that depends on it.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiled import kernel

Positions: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

_LANES = 4  # walks side by side: each step of one waits for the step before it


@kernel
def ascends(positions: Positions) -> bool:
    """Whether each is larger than the one before it."""
    larger = 0
    for k in range(1, positions.size):
        larger += positions[k] > positions[k - 1]
    return larger == max(0, positions.size - 1)


@kernel
def places(positions: Positions, sought: Positions, found: Positions) -> None:
    """found[k]: where sought[k] stands among `positions`, which hold it."""
    if sought.size < 2 * _LANES:
        _places(positions, sought, found, 0, sought.size, 0)
        return
    quarter = sought.size // _LANES
    steps = positions.size
    begin = np.empty(_LANES, np.int64)
    for lane in range(_LANES):
        begin[lane] = np.searchsorted(positions, sought[lane * quarter])
        steps = min(steps, np.searchsorted(positions, sought[(lane + 1) * quarter - 1]) - begin[lane])
    a, b, c, d = 0, quarter, 2 * quarter, 3 * quarter
    at_a, at_b, at_c, at_d = begin[0], begin[1], begin[2], begin[3]
    # A lane ends one step before it finds its last at the earliest: what it notes beyond that is its own to write.
    for step in range(steps):
        found[a] = at_a + step
        found[b] = at_b + step
        found[c] = at_c + step
        found[d] = at_d + step
        a += positions[at_a + step] == sought[a]
        b += positions[at_b + step] == sought[b]
        c += positions[at_c + step] == sought[c]
        d += positions[at_d + step] == sought[d]
    _places(positions, sought, found, a, quarter, at_a + steps)
    _places(positions, sought, found, b, 2 * quarter, at_b + steps)
    _places(positions, sought, found, c, 3 * quarter, at_c + steps)
    _places(positions, sought, found, d, sought.size, at_d + steps)


@kernel
def _places(positions: Positions, sought: Positions, found: Positions, k: int, end: int, place: int) -> None:
    """found[k:end], from positions[place] on."""
    while k < end:
        found[k] = place
        k += positions[place] == sought[k]
        place += 1


@kernel
def without(positions: Positions, gone: Flags, count: int) -> Positions:
    """Those `count` that are not `gone`."""
    kept = np.empty(count, np.int64)
    k = 0
    for p in range(positions.size):
        if k < count:
            kept[k] = positions[p]
        k += not gone[p]
    return kept


@kernel
def distinct(numbers: Positions) -> Positions:
    """Each of the ascending numbers once."""
    k = 0
    found = np.empty_like(numbers)
    for number in numbers:
        # The next one takes its place if it is the same.
        k += k > 0 and found[k - 1] != number
        k = max(k, 1)
        found[k - 1] = number
    return found[:k]


@kernel
def divide(
    positions: Positions, some: Positions, others: Positions, places_of_some: Positions, places_of_others: Positions
) -> None:
    """others: `positions` that are not among `some`, all of which are; and where both stand among them."""
    i = j = 0
    for p in range(positions.size):
        position = positions[p]
        one = i < some.size and some[i] == position
        if i < some.size:
            places_of_some[i] = p
        if j < others.size:
            others[j], places_of_others[j] = position, p
        i += one
        j += not one


@kernel
def absent(positions: Positions, ranks: Positions, found: Positions) -> None:
    """found[k]: the position not among `positions` that has ranks[k] such before it."""
    place = 0
    for k in range(ranks.size):
        # positions[place] - place absent ones lie before it.
        while place < positions.size and positions[place] - place <= ranks[k]:
            place += 1
        found[k] = ranks[k] + place


@kernel
def merge(one: Positions, other: Positions, both: Positions) -> None:
    i = j = 0
    while i < one.size and j < other.size:
        a, b = one[i], other[j]
        first = a < b
        both[i + j] = min(a, b)
        i, j = i + first, j + (not first)
    both[i + j : one.size + j] = one[i:]
    both[both.size - other.size + j :] = other[j:]
