"""A run in one file, from which training goes on bit for bit. Safetensors and JSON: nothing in it is executed.

A sparse layer keeps its active values and their positions; optimizer state is kept at active weights only, for what it
is elsewhere never reaches a training: it is the optimizer's initial state again after loading.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from models.data.samples import Split
from models.explored import Explored
from models.layers import SparseLayer
from models.optimizer_state import initial_value, is_per_weight
from models.packing import pack, pack_connections, unpack, unpack_connections
from models.probe import GradientFlow
from models.settings import from_plain, to_plain
from models.training import EpochReport, Plan, Run

FORMAT = 3


class CheckpointError(ValueError):
    """A file from which no run can continue. Names the file and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: no run can continue from this file: {self.reason}"


@dataclass(frozen=True, eq=False)
class Beside:
    """What else travels in the file of a run. description: as JSON can hold it."""

    description: Any
    tensors: dict[str, Tensor]


def save(run: Run, path: Path | str, beside: Beside | None = None, owner: str = "") -> None:
    """Writes `run` as it is between two epochs, whole or not at all: a reader sees the old file or the new one.

    owner  names what is trained, for whoever keeps several files: another's is refused by `load`
    """
    beside = beside or Beside(None, {})
    tensors = dict(_network_tensors(run)) | dict(_optimizer_tensors(run))
    tensors |= {f"beside/{name}": tensor for name, tensor in beside.tensors.items()}
    tensors |= dict(_explored_tensors(run))
    tensors |= dict(_first_tensors(run))
    tensors |= {f"stream/{name}": stream.get_state() for name, stream in run.streams.items()}
    description = {
        "plan": to_plain(run.plan),
        "storages": [[layer.storage, layer.asked_storage] for layer in run.layers.values()],
        "data": _fingerprint(run.split),
        "owner": owner,
        "epoch": run.epoch,
        "reports": [asdict(report) for report in run.reports],
        "gradient_flow": [asdict(measure) for measure in run.gradient_flow],
        "rewiring": pack(run.rewiring_state, "rewiring", tensors),
        "beside": beside.description,
    }
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    said = json.dumps(description)
    _write(Path(path), serialise(content, {"format": str(FORMAT), "run": said, "digest": _digest(said, content)}))


def load(path: Path | str, split: Split, owner: str = "") -> Run:
    """The run that was saved, on the data it was trained on.

    Raises: FileNotFoundError; CheckpointError, if the file is damaged, of another program or owner, or the data are
        others
    """
    path = Path(path)
    description, tensors = _read(path, owner)
    if description["data"] != _fingerprint(split):
        raise CheckpointError(path, f"it belongs to other data: {description['data']}, not {_fingerprint(split)}")
    plan: Plan = from_plain(Plan, description["plan"])
    shapes = plan.network.layers(split.input_shape, split.classes)
    connections = [unpack_connections(shape.weight, _under(f"connections/{shape.name}/", tensors)) for shape in shapes]
    run = Run(plan, connections, split)
    for layer, (storage, asked) in zip(run.layers.values(), description["storages"], strict=True):
        layer.store_as(storage, asked)  # whatever this machine would choose: the other one rounds differently
    _restore_network(run, tensors)
    _restore_optimizer(run, tensors)
    for name, stream in run.streams.items():
        stream.set_state(tensors[f"stream/{name}"])
    if explored := _under("explored/", tensors):
        layers = [unpack_connections(shape.weight, _under(f"{shape.name}/", explored)) for shape in shapes]
        run.explored = Explored(tuple(layers))
    if first := _under("first/", tensors):
        run.first = tuple(unpack_connections(shape.weight, _under(f"{shape.name}/", first)) for shape in shapes)
    run.epoch = description["epoch"]
    run.reports = [from_plain(EpochReport, report) for report in description["reports"]]
    run.gradient_flow = [GradientFlow(**measure) for measure in description["gradient_flow"]]
    run.rewiring_state = unpack(description["rewiring"], run.rewiring_state, tensors)
    return run


def beside(path: Path | str, owner: str = "") -> Beside:
    """What was saved with a run. Raises: as `load`, but for other data"""
    description, tensors = _read(Path(path), owner)
    return Beside(description["beside"], _under("beside/", tensors))


def reports(path: Path | str, owner: str = "") -> list[EpochReport]:
    """Of the epochs that the run has behind it. Raises: as `load`, but for other data"""
    description, _ = _read(Path(path), owner)
    return [from_plain(EpochReport, report) for report in description["reports"]]


def _network_tensors(run: Run) -> Iterator[tuple[str, Tensor]]:
    positions = {f"{name}.positions" for name in run.layers}
    for name, tensor in run.network.state_dict().items():
        if name not in positions:
            yield f"network/{name}", tensor
    for name, layer in run.layers.items():
        for part, tensor in pack_connections(layer.connections).items():
            yield f"connections/{name}/{part}", tensor


def _first_tensors(run: Run) -> Iterator[tuple[str, Tensor]]:
    """None where they are what they were."""
    now = [layer.connections.hash() for layer in run.layers.values()]
    if now == [connections.hash() for connections in run.first]:
        return
    for name, first in zip(run.layers, run.first, strict=True):
        for part, tensor in pack_connections(first).items():
            yield f"first/{name}/{part}", tensor


def _explored_tensors(run: Run) -> Iterator[tuple[str, Tensor]]:
    if run.explored is None:
        return
    for name, active in zip(run.layers, run.explored.layers, strict=True):
        for part, tensor in pack_connections(active).items():
            yield f"explored/{name}/{part}", tensor


def _restore_network(run: Run, tensors: dict[str, Tensor]) -> None:
    positions = {f"{name}.positions": layer.connections.positions for name, layer in run.layers.items()}
    run.network.load_state_dict(_under("network/", tensors) | positions)


def _optimizer_tensors(run: Run) -> Iterator[tuple[str, Tensor]]:
    for number, parameter, layer in _parameters(run):
        for name, value in run.optimizer.state.get(parameter, {}).items():
            active_only = layer is not None and is_per_weight(value, parameter)
            yield f"optimizer/{number}/{name}", layer.gather(value) if layer and active_only else value


def _restore_optimizer(run: Run, tensors: dict[str, Tensor]) -> None:
    for number, parameter, layer in _parameters(run):
        state = _under(f"optimizer/{number}/", tensors)
        for name, value in state.items():
            if layer is not None and value.ndim:
                state[name] = layer.scatter(value, initial_value(run.optimizer, parameter, name))
        if state:
            run.optimizer.state[parameter] = state


def _parameters(run: Run) -> Iterator[tuple[int, torch.nn.Parameter, SparseLayer | None]]:
    """The optimizer's parameters, numbered, each with the sparse layer whose weights it is."""
    owners = {id(layer.parameter): layer for layer in run.layers.values()}
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    for number, parameter in enumerate(parameters):
        yield number, parameter, owners.get(id(parameter))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _fingerprint(split: Split) -> dict[str, Any]:
    """Enough to tell another data set or another split: sizes, and the labels in their order."""
    return {
        "train": len(split.train),
        "held_out": len(split.held_out),
        "input_shape": list(split.input_shape),
        "classes": split.classes,
        "labels": hashlib.sha256(split.train.y.cpu().numpy().tobytes()).hexdigest(),
    }


def _digest(description: str, tensors: Mapping[str, Tensor]) -> str:
    """The format itself would not notice a flipped bit."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: Path, owner: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(path, f"it is truncated or no checkpoint ({error})") from None
    if "run" not in metadata or metadata.get("format") != str(FORMAT):
        raise CheckpointError(path, f"its format is {metadata.get('format')}, and only {FORMAT} is read here")
    if metadata.get("digest") != _digest(metadata["run"], tensors):
        raise CheckpointError(path, "it is damaged: its content is not what was written")
    description: dict[str, Any] = json.loads(metadata["run"])
    if description["owner"] != owner:
        raise CheckpointError(path, f"it belongs to {description['owner'] or 'nobody'}, not to {owner or 'nobody'}")
    return description, tensors


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # else a crash may forget the new name
    finally:
        os.close(directory)
