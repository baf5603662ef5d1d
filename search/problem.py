"""What a job comes to once its data is loaded: shapes, and the refusals that only shapes can show."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.augmentation import refuse_vectors
from models.data.samples import DataError, DataSet, final_split, search_split
from models.networks.shapes import LayerShape
from models.seeds import derive
from search import regimes
from search.capacity import kept_weights, prunable, reach
from search.faults import InvalidSpec, fault
from search.spec import Budget, ChosenTrial, JobSpec, dump


@dataclass(frozen=True)
class Problem:
    """samples: of the training part, validation included; layers: the prunable weights, from input to output."""

    input_shape: tuple[int, ...]
    classes: int
    samples: int
    data_hash: str
    layers: tuple[LayerShape, ...]


def examine(spec: JobSpec, data_dir: Path | None) -> Problem:
    """Loads the data and checks the job against it. Raises: InvalidSpec."""
    try:
        data = spec.data.load(data_dir, split_seed(spec))  # not kept: a server reads many, and trains on none
        search_split(data, spec.data.validation, split_seed(spec))
        final_split(data)
    except DataError as error:
        raise _data_fault(spec, error) from None
    layers = _layers(spec, data)
    _check(spec, layers)

    def examine_varied(varied: JobSpec) -> None:
        _refuse_other_layers(_layers(varied, data), layers)
        _check(varied, layers)

    regimes.check(spec, examine_varied)
    return Problem(data.input_shape, data.classes, len(data.train), data.hash, layers)


def split_seed(spec: JobSpec) -> int:
    """One split for the whole job: trials and arms differ in everything but the data."""
    return derive(spec.seed, "split")


def problem_json(problem: Problem) -> dict[str, Any]:
    layers = [asdict(layer) | {"weight": list(layer.weight)} for layer in problem.layers]
    return asdict(problem) | {"input_shape": list(problem.input_shape), "layers": layers}


def problem_from(value: dict[str, Any]) -> Problem:
    layers = tuple(LayerShape(**{**layer, "weight": tuple(layer["weight"])}) for layer in value["layers"])
    return Problem(**{**value, "input_shape": tuple(value["input_shape"]), "layers": layers})


def _check(spec: JobSpec, layers: tuple[LayerShape, ...]) -> None:
    _check_keep_dense(spec, layers)
    _check_budget(spec, layers)
    _check_choice(spec)


def _refuse_other_layers(found: tuple[LayerShape, ...], layers: tuple[LayerShape, ...]) -> None:
    if found != layers:
        names = ", ".join(layer.name for layer in layers)
        raise fault("network", None, f"changes the layers; every trial has a density for each of {names}, as they are")


def _data_fault(spec: JobSpec, error: DataError) -> InvalidSpec:
    # An error about one setting begins with its field; one about a file begins with the file.
    given = dump(spec)["data"]
    field, _, reason = str(error).partition(": ")
    name = field.removeprefix("data.")
    if reason and name in given:
        return fault(f"data.{name}", given[name], reason)
    return fault("data", given, str(error))


def _layers(spec: JobSpec, data: DataSet) -> tuple[LayerShape, ...]:
    try:
        layers = spec.network.layers(data.input_shape, data.classes)
    except ValueError as error:
        raise fault("network", dump(spec)["network"], str(error)) from None
    try:
        refuse_vectors(spec.training.augmentation, data.input_shape)
    except ValueError as error:
        raise fault("training.augmentation", dump(spec)["training"]["augmentation"], str(error)) from None
    return layers


def _check_keep_dense(spec: JobSpec, layers: tuple[LayerShape, ...]) -> None:
    kept = list(spec.network.keep_dense)
    names = [layer.name for layer in layers]
    unknown = [name for name in kept if name not in names]
    if unknown:
        raise fault("network.keep_dense", kept, f"{unknown[0]!r} is not a layer; this network has {', '.join(names)}")
    if not prunable(spec.network, layers):
        raise fault("network.keep_dense", kept, "every layer is kept dense, which leaves nothing to search")


def _check_budget(spec: JobSpec, layers: tuple[LayerShape, ...]) -> None:
    space = spec.search.space
    if not isinstance(space, Budget):
        return
    smallest, largest = reach(spec.network, layers)
    asked = space.total(largest)
    if smallest <= asked <= largest:
        return
    field, value = ("weights", space.weights) if space.weights is not None else ("density", space.density)
    kept = kept_weights(spec.network, layers)
    floor = "one per output unit" + (f" and {kept} in the layers kept dense" if kept else "")
    raise fault(
        f"search.space.{field}",
        value,
        f"{asked} active weights are out of reach; this network takes between {smallest} ({floor}) and {largest} (all)",
    )


def _check_choice(spec: JobSpec) -> None:
    if spec.confirm is None or not isinstance(spec.confirm.choose, ChosenTrial):
        return
    chosen, trials = spec.confirm.choose.trial, spec.search.trials
    if chosen >= trials:
        raise fault(
            "confirm.choose.trial",
            chosen,
            f"{chosen} is not a trial of this job; it must be between 0 and {trials - 1}",
        )
