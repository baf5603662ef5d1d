"""The decisions of `kernels.dropout`, bit for bit, by torch: for devices that no kernel of ours runs on."""

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF  # torch has no arithmetic on unsigned words: the low half of 64 bits stands for one
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B


def draws(samples: int, units: int, seed: int, device: torch.device) -> Tensor:
    """int64 [samples, units], each uniform over [0, 2^32): a unit is dropped where its draw is below p * 2^32."""
    of_samples = _keys(~torch.arange(samples, device=device), seed)
    of_units = _keys(torch.arange(units, device=device), seed)
    mixed = (of_samples[:, None] + of_units) & _WORD
    mixed = ((mixed ^ (mixed >> 16)) * _FIRST) & _WORD
    return ((mixed ^ (mixed >> 15)) * _SECOND) & _WORD


def limit(p: float) -> int:
    """Draws below it are dropped."""
    return min(round(p * 2**32), _WORD)


def _keys(numbers: Tensor, seed: int) -> Tensor:
    low, high = (_mix(torch.tensor(half, device=numbers.device)) for half in (seed & _WORD, seed >> 32))
    return _mix(_mix((numbers & _WORD) ^ low) ^ high)


def _mix(number: Tensor) -> Tensor:
    """lowbias32, Wellons 2018."""
    number = ((number ^ (number >> 16)) * _FIRST) & _WORD
    number = ((number ^ (number >> 15)) * _SECOND) & _WORD
    return number ^ (number >> 16)
