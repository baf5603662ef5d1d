"""The jobs that the browser sees: one that ends in seconds, one that does not end by itself."""

from typing import Any

FINISHED: dict[str, Any] = {
    "name": "finished digits",
    "data": {"kind": "bundled", "name": "digits", "limit": 500},
    "network": {"kind": "mlp", "widths": [24, 16]},
    "training": {"epochs": 3, "batch_size": 32},
    "search": {"space": {"kind": "free", "low": 0.05, "high": 0.6}, "objectives": ["loss", "weights"], "trials": 8},
    "confirm": {"shortlist": 2, "shortlist_seeds": 2, "seeds": 5, "arms": ["dense", "same_capacity", "erk"]},
}
RUNNING: dict[str, Any] = FINISHED | {"name": "running digits", "training": {"epochs": 1_000_000, "batch_size": 32}}
