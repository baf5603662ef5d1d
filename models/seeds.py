"""Random streams: each use has its own, derived from the trial's seed, so that none disturbs another."""

import hashlib

import torch


def derive(seed: int, *words: str | int) -> int:
    """A seed in [0, 2**63) that depends on `seed` and on every word."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *words: str | int) -> torch.Generator:
    """A CPU generator of its own stream."""
    return torch.Generator().manual_seed(derive(seed, *words))
