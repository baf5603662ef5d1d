"""What a job comes to once its data is loaded: shapes, and the refusals that only shapes can show."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.augmentation import refuse_vectors
from models.data.samples import DataError, DataSet, Samples, final_split, search_split
from models.networks.shapes import LayerShape
from models.seeds import derive, generator
from models.topologies import Dictating, Scoring
from search import regimes, sc_sdc
from search.blocks import present, refuse_needed
from search.capacity import budget_weights, kept_weights, prunable, reach, with_kept
from search.faults import InvalidSpec, fault
from search.gradual_start import NAME, Pruned, pruning_job, refuse_nothing_to_prune
from search.rewiring_limits import refuse_unsuitable_rewiring
from search.sc_sdc_setting import ScSdc
from search.scored_starts import Scored, scored
from search.spec import Budget, ChosenTrial, Dictated, JobSpec, dump
from search.suitability import refuse_misfits
from search.text_limits import refuse_unreadable, refuse_unsuitable_text


@dataclass(frozen=True)
class Problem:
    """samples: of the training part, validation included; layers: the prunable weights, from input to output;
    dictated: the counts of all layers, where the topology dictates them; scored: the starts that scores give;
    gradual: what the pruning run came to, once a worker has trained it, of a job that asks for this start;
    earlier: the starts that earlier jobs give."""

    input_shape: tuple[int, ...]
    classes: int
    samples: int
    data_hash: str
    layers: tuple[LayerShape, ...]
    dictated: tuple[int, ...] | None = None
    scored: Scored = ()
    earlier: Scored = ()
    gradual: Pruned | None = None

    @property
    def found(self) -> Scored:
        """The starts that no rule gives, as far as they are known: by name, the counts of the searched layers."""
        pruned = () if self.gradual is None else ((NAME, self.gradual.counts),)
        return (*self.earlier, *self.scored, *pruned)


def examine(spec: JobSpec, data_dir: Path | None) -> Problem:
    """Loads the data and checks the job against it. Raises: InvalidSpec."""
    try:
        data = spec.data.load(data_dir, split_seed(spec))  # not kept: a server reads many, and trains on none
        split = search_split(data, spec.data.validation, split_seed(spec))
        final_split(data)
    except DataError as error:
        raise _data_fault(spec, error) from None
    refuse_unreadable(spec)
    layers = _layers(spec, data)
    dictated = _check(spec, layers, split.train, data_dir)

    def examine_varied(varied: JobSpec) -> None:
        there = present(varied.network, layers)
        _refuse_other_layers(_layers(varied, data), there)
        refuse_needed(spec.network, varied.network)
        _refuse_other_counts(_check(varied, there, split.train, data_dir, layers), dictated)

    regimes.check(spec, examine_varied)
    if isinstance(spec.search.space, ScSdc):
        sc_sdc.refuse(spec, layers, data.input_shape, data.classes)
    _check_pruning_run(spec, layers, split.train, len(data.train), data_dir)
    from_scores = scored(spec, layers, split)
    return Problem(data.input_shape, data.classes, len(data.train), data.hash, layers, dictated, from_scores)


def split_seed(spec: JobSpec) -> int:
    """One split for the whole job: trials and arms differ in everything but the data."""
    return derive(spec.seed, "split")


def problem_json(problem: Problem) -> dict[str, Any]:
    layers = [asdict(layer) | {"weight": list(layer.weight)} for layer in problem.layers]
    dictated = None if problem.dictated is None else list(problem.dictated)
    changed = {"input_shape": list(problem.input_shape), "layers": layers, "dictated": dictated}
    found = {"scored": problem.scored, "earlier": problem.earlier}
    written = {kind: {name: list(counts) for name, counts in starts} for kind, starts in found.items()}
    return asdict(problem) | changed | written


def problem_from(value: dict[str, Any]) -> Problem:
    layers = tuple(LayerShape(**{**layer, "weight": tuple(layer["weight"])}) for layer in value["layers"])
    dictated = None if value.get("dictated") is None else tuple(value["dictated"])
    changed = {"input_shape": tuple(value["input_shape"]), "layers": layers, "dictated": dictated}
    found = {kind: _counts_by_name(value.get(kind, {})) for kind in ("scored", "earlier")}
    gradual = None if value.get("gradual") is None else Pruned.from_json(value["gradual"])
    return Problem(**{**value, **changed, **found, "gradual": gradual})


def _counts_by_name(value: dict[str, Any]) -> Scored:
    return tuple((name, tuple(counts)) for name, counts in value.items())


def _check(
    spec: JobSpec,
    layers: tuple[LayerShape, ...],
    train: Samples,
    data_dir: Path | None,
    whole: tuple[LayerShape, ...] | None = None,
) -> tuple[int, ...] | None:
    """The counts that the topology dictates, if it does.

    whole  the layers of the job's own network, where this one has not all of them
    """
    _check_keep_dense(spec, layers)
    _check_budget(spec, layers, layers if whole is None else whole)
    _check_choice(spec)
    _check_samples(spec, train)
    _check_measures(spec, layers)
    refuse_misfits(spec, layers)
    refuse_unsuitable_rewiring(spec, layers, len(train))
    refuse_unsuitable_text(spec, len(train))
    return _dictated(spec, layers, data_dir)


def _check_pruning_run(
    spec: JobSpec, layers: tuple[LayerShape, ...], train: Samples, samples: int, data_dir: Path | None
) -> None:
    """What a worker will train for the start `gradual` passes what the job itself has to pass."""
    if NAME not in (spec.search.starts or ()):
        return
    refuse_nothing_to_prune(spec, layers)
    job = pruning_job(spec, samples)
    if present(job.network, layers) != layers:
        raise fault("search.starts", NAME, "its pruning run needs all blocks, and those of network.blocks lack some")
    try:
        _check(job, layers, train, data_dir)
    except InvalidSpec as error:
        (first, *_) = error.faults
        raise fault("search.starts", NAME, f"its pruning run is none: {first['field']}: {first['message']}") from None


def _refuse_other_layers(found: tuple[LayerShape, ...], layers: tuple[LayerShape, ...]) -> None:
    if found != layers:
        names = ", ".join(layer.name for layer in layers)
        raise fault("network", None, f"changes the layers; every trial has a density for each of {names}, as they are")


def _refuse_other_counts(found: tuple[int, ...] | None, dictated: tuple[int, ...] | None) -> None:
    if found != dictated:
        raise fault("topology", None, f"dictates {found} connections; those of all trials are {dictated}")


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


def _check_budget(spec: JobSpec, layers: tuple[LayerShape, ...], whole: tuple[LayerShape, ...]) -> None:
    space = spec.search.space
    if not isinstance(space, Budget):
        return
    smallest, largest = reach(spec.network, layers)
    asked = budget_weights(space, whole)
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


def _check_measures(spec: JobSpec, layers: tuple[LayerShape, ...]) -> None:
    for number, measure in enumerate(spec.measures):
        try:
            measure.refuse(layers)
        except ValueError as error:
            raise fault(f"measures.{number}", dump(spec)["measures"][number], str(error)) from None


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


def _check_samples(spec: JobSpec, train: Samples) -> None:
    if isinstance(spec.topology, Scoring):
        try:
            spec.topology.batch(train, generator(spec.seed))
        except ValueError as error:
            raise _topology_fault(spec, error) from None


def _dictated(spec: JobSpec, layers: tuple[LayerShape, ...], data_dir: Path | None) -> tuple[int, ...] | None:
    """The counts that the topology dictates; such a topology and such a space need each other."""
    topology, space = spec.topology, spec.search.space
    if isinstance(topology, Dictating) and not isinstance(space, Dictated):
        allowed = f"it must be 'dictated', as the topology {topology.kind} dictates the densities"
        raise fault("search.space.kind", space.kind, f"{space.kind!r} is not allowed; {allowed}")
    if not isinstance(topology, Dictating):
        if isinstance(space, Dictated):
            allowed = f"the topology {topology.kind} does not dictate densities; it must be 'free' or 'budget'"
            raise fault("search.space.kind", space.kind, f"{space.kind!r} is not allowed; {allowed}")
        return None
    try:
        return with_kept(spec.network, layers, topology.counts(prunable(spec.network, layers), data_dir))
    except ValueError as error:
        raise _topology_fault(spec, error) from None


def _topology_fault(spec: JobSpec, error: ValueError) -> InvalidSpec:
    given = dump(spec)["topology"]
    field, _, reason = str(error).partition(": ")
    if reason and field in given:
        return fault(f"topology.{field}", given[field], reason)
    return fault("topology", given, str(error))
