"""Connections from a file: those of a checkpoint, or positions that someone wrote down."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.connections import Connections
from models.data import npz
from models.data.paths import inside
from models.networks import AnyNetwork
from models.networks.shapes import LayerShape
from models.packing import unpack_connections
from models.settings import from_plain
from models.topologies.dictating import Dictating
from models.types import setting
from models.untrained import Untrained


@setting
class Given(Dictating):
    """file: inside the data directory; nothing in it is executed.

    A `.npz` holds for each layer, under its name, the flat row-major positions of its connections in the weight
    [out, in, ...], ascending. Any other file is a checkpoint. Layers kept dense are not looked at.
    """

    kind: Literal["given"] = "given"
    file: str = "connections.npz"

    def counts(self, layers: Sequence[LayerShape], data_dir: Path | None) -> tuple[int, ...]:
        return tuple(connections.nnz for connections in self._read(layers, data_dir))

    def place(self, network: Untrained, generator: torch.Generator) -> list[Connections]:
        del generator
        return self._read(network.layers, network.data_dir)

    def _read(self, layers: Sequence[LayerShape], data_dir: Path | None) -> list[Connections]:
        path = inside(data_dir, self.file, "file")
        if not path.is_file():
            raise ValueError(f"file: {self.file!r} is not allowed; it must be a file, not a folder")
        if path.suffix == ".npz":
            arrays = npz.read_all(path, self.file)
            return [self._positions(layer, arrays) for layer in layers]
        return self._checkpoint(layers, path)

    def _positions(self, layer: LayerShape, arrays: Mapping[str, Any]) -> Connections:
        if layer.name not in arrays:
            raise ValueError(f"file: {self.file!r} has no positions of {layer.name}; it holds {', '.join(arrays)}")
        array = arrays[layer.name]
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"file: {layer.name} of {self.file!r} is {array.dtype} {list(array.shape)}; "
                "it must be whole numbers [nnz]"
            )
        return self._connections(layer, torch.from_numpy(array.astype("int64")))

    def _connections(self, layer: LayerShape, positions: Tensor) -> Connections:
        try:
            connections = Connections(layer.weight, positions)
        except ValueError as error:
            raise ValueError(f"file: {layer.name} of {self.file!r}: {error}") from None
        if not connections.nnz:
            raise ValueError(f"file: {layer.name} of {self.file!r} has no connections; it must have at least one")
        return connections

    def _checkpoint(self, layers: Sequence[LayerShape], path: Path) -> list[Connections]:
        try:
            with safe_open(path, framework="pt") as file:
                metadata, names = file.metadata() or {}, list(file.keys())
                packed = {name: file.get_tensor(name) for name in names if name.startswith("connections/")}
            shapes = _shapes(json.loads(metadata["run"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"file: {self.file!r} is neither a .npz nor a checkpoint ({error!r:.200})") from None
        for layer in layers:
            if shapes.get(layer.name) != layer.weight:
                found = f"has shape {list(shapes[layer.name])}" if layer.name in shapes else "is not"
                raise ValueError(
                    f"file: {layer.name} {found} in {self.file!r}; this network's has shape {list(layer.weight)}"
                )
        return [self._unpacked(layer, packed) for layer in layers]

    def _unpacked(self, layer: LayerShape, packed: Mapping[str, Tensor]) -> Connections:
        prefix = f"connections/{layer.name}/"
        own = {name.removeprefix(prefix): tensor for name, tensor in packed.items() if name.startswith(prefix)}
        if not _is_whole(layer, own):
            raise ValueError(f"file: the connections of {layer.name} in {self.file!r} are damaged")
        return self._connections(layer, unpack_connections(layer.weight, own).positions)


def _shapes(run: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    network = from_plain(AnyNetwork, run["plan"]["network"])
    layers = network.layers(tuple(run["data"]["input_shape"]), run["data"]["classes"])
    return {layer.name: layer.weight for layer in layers}


def _is_whole(layer: LayerShape, packed: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors that `pack_connections` makes for such a layer."""
    if any(tensor.ndim != 1 for tensor in packed.values()):
        return False
    if set(packed) == {"bits"}:
        bits = packed["bits"]
        return bits.dtype == torch.uint8 and bits.numel() == -(-layer.total // 8)
    if set(packed) != {"rows", "columns"} or any(tensor.dtype != torch.int32 for tensor in packed.values()):
        return False
    rows, columns = packed["rows"], packed["columns"]
    fits = bool((rows >= 0).all() & (columns >= 0).all() & (columns < layer.total // layer.outputs).all())
    return fits and rows.numel() == layer.outputs and int(rows.sum()) == columns.numel()
