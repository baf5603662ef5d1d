"""A text in windows: read as parallel streams, and by networks that know at a window's start what they knew before it.

Truncated back-propagation through time: gradients end at a window's first step, what is known does not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


def in_streams(windows: int, streams: int) -> tuple[Tensor, ...]:
    """int64 [streams] each: the next window of every stream, which are consecutive parts of the text.

    Where they cannot be equally long, the first ones are a window longer: the last batch has only theirs.

    Raises: ValueError where there are fewer windows than streams
    """
    if not 1 <= streams <= windows:
        raise ValueError(f"batch_size: {streams} streams are not allowed; the text has {windows} windows to share out")
    length, longer = divmod(windows, streams)
    number = torch.arange(streams)
    first = number * length + number.clamp(max=longer)
    batches = [first + step for step in range(length)]
    return (*batches, first[:longer] + length) if longer else tuple(batches)


class Reader(nn.Module):
    """A network over windows of a text. Outside `carrying` it knows nothing at the start of a window.

    known  the state of each recurrent layer after the window before, detached; [streams, units] each
    """

    def __init__(self) -> None:
        super().__init__()
        self.carries = False
        self.known: list[State] | None = None

    def before(self, layer: int, streams: int) -> State | None:
        """The state of a recurrent layer for those streams that go on, which are the first."""
        return None if self.known is None else tuple(part[:streams] for part in self.known[layer])

    def remember(self, states: list[State]) -> None:
        """What the layers know after a window."""
        if self.carries:
            self.known = [tuple(part.detach() for part in state) for state in states]


@contextmanager
def carrying(network: nn.Module) -> Iterator[None]:
    """Inside, windows go on where the ones before ended, the first ones from nothing; afterwards all is forgotten."""
    readers = [module for module in network.modules() if isinstance(module, Reader)]
    for reader in readers:
        reader.carries, reader.known = True, None
    try:
        yield
    finally:
        for reader in readers:
            reader.carries, reader.known = False, None
