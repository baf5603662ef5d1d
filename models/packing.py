"""What a checkpoint holds, in few bytes: connections as bits or columns, other values as JSON and named tensors."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.connections import Connections


def pack_connections(connections: Connections) -> dict[str, Tensor]:
    """`bits` uint8 [total / 8], or `rows` int32 [out] (active in each row) and `columns` int32 [nnz]: the smaller."""
    rows = connections.shape[0]
    if connections.total / 8 <= 4 * (rows + connections.nnz):
        return {"bits": torch.from_numpy(np.packbits(connections.mask().numpy()))}
    width = connections.total // rows
    return {
        "rows": torch.bincount(connections.positions // width, minlength=rows).int(),
        "columns": (connections.positions % width).int(),
    }


def unpack_connections(shape: tuple[int, ...], packed: Mapping[str, Tensor]) -> Connections:
    total = int(np.prod(shape))
    if "bits" in packed:
        mask = np.unpackbits(packed["bits"].numpy(), count=total)
        return Connections.from_mask(torch.from_numpy(mask).view(shape))
    width = total // shape[0]
    rows = torch.repeat_interleave(torch.arange(shape[0]), packed["rows"].long())
    return Connections(shape, rows * width + packed["columns"].long())


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON can hold it; tensors go into `tensors`, under names that start with `name`.

    value  None, a number, a text, a tensor, or tuples and dataclasses of such
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, tuple):
        return [pack(each, f"{name}/{n}", tensors) for n, each in enumerate(value)]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {
            "fields": {each.name: pack(getattr(value, each.name), f"{name}/{each.name}", tensors) for each in fields}
        }
    return value


def unpack(packed: Any, like: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `pack`; dataclasses are those of `like`, a value of the same make."""
    if isinstance(packed, list):
        return tuple(unpack(each, None, tensors) for each in packed)
    if isinstance(packed, dict) and "tensor" in packed:
        return tensors[packed["tensor"]]
    if isinstance(packed, dict):
        fields = packed["fields"].items()
        return dataclasses.replace(like, **{name: unpack(each, getattr(like, name), tensors) for name, each in fields})
    return packed
