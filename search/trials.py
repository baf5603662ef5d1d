"""Trains one point and measures it. The same code runs trials, the shortlist and the final arms."""

import hashlib
import importlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from models import crossover, training
from models.data.samples import Split
from models.layers.initialisation import scale_for
from models.measures import Trained
from models.memory import keep_memory
from models.recipe import Training
from models.retraining import Retrained, start_retraining
from models.rewiring import Static
from models.seeds import generator
from models.topologies import AnyTopology
from models.training import EpochReport, Evaluate, Run
from models.warm import load_kernels
from search import remembered
from search.capacity import flops, macs
from search.latency import latency
from search.points import Assignment, Outcome
from search.problem import split_seed
from search.regimes import applied
from search.spec import JobSpec


def perform(
    spec: JobSpec, assignment: Assignment, data_dir: Path | None, data_hash: str | None = None
) -> Iterator[EpochReport | Outcome]:
    """The reports of a training, epoch by epoch, then its outcome; stop iterating to stop the training.

    Search and shortlist learn from the train part and are measured on the validation part after every epoch. The final
    stage learns from both and meets the test part once, after its last epoch.

    data_hash  of the data that the job was submitted with; None accepts any

    Raises: models.training.Diverged and ConnectionLeak; models.data.samples.DataError, if the data is no longer there;
        search.remembered.DataChanged, if it is another. A trial that raises has failed: Optuna is told so, no value.
    """
    samples = split(spec, assignment, data_dir, data_hash)
    run = start(spec, assignment, samples, data_dir)
    yield from run.train()
    yield outcome(spec, assignment, samples, run)


def warm_up(crossover_file: Path | None = None) -> None:
    """Loads what the first training of a process would load, so that those forked from this one need not.

    crossover_file  measured on this machine, used if it is there

    Raises: ValueError for a file that is no such measurement
    """
    if crossover_file is not None and crossover_file.exists():
        crossover.use(crossover.Crossover.read(crossover_file))
    # torch's compiler comes with the first optimizer, scikit-learn with the first data set: seconds of imports.
    for name in ("torch._dynamo", "sklearn.datasets"):
        importlib.import_module(name)
    load_kernels()


def prepare_process() -> None:
    """For trainings: one thread, as workers share the cores as whole processes, one trial each; memory that stays."""
    torch.set_num_threads(1)
    keep_memory()


def split(spec: JobSpec, assignment: Assignment, data_dir: Path | None, data_hash: str | None) -> Split:
    validation = None if assignment.stage == "final" else spec.data.validation
    return remembered.split(spec.data, data_dir, split_seed(spec), data_hash, validation)


def start(spec: JobSpec, assignment: Assignment, split: Split, data_dir: Path | None) -> Run | Retrained:
    """Networks whose connections are given, the dense ones too, have nothing to find, and are trained once."""
    evaluate: Evaluate = "end" if assignment.stage == "final" else "every_epoch"
    parts = (
        assignment.network,
        assignment.counts,
        topology(spec, assignment),
        assignment.rewiring,
        recipe(spec, assignment),
        split,
        assignment.seed,
        evaluate,
    )
    if spec.retraining is not None and not isinstance(assignment.rewiring, Static):
        return start_retraining(spec.retraining, *parts, data_dir)
    run = training.start(*parts, data_dir=data_dir)
    if assignment.fan_in is not None:
        for layer, fan_in in zip(run.layers.values(), assignment.fan_in, strict=True):
            scale_for(layer, fan_in)
    return run


def recipe(spec: JobSpec, assignment: Assignment) -> Training:
    """How this point is trained: its own way, as the search chose, or the job's."""
    return assignment.training or applied(spec, assignment.regime).training


def topology(spec: JobSpec, assignment: Assignment) -> AnyTopology:
    """Where this point's connections start: its own way, as the search chose, or the job's."""
    return assignment.topology or applied(spec, assignment.regime).topology


def outcome(spec: JobSpec, assignment: Assignment, split: Split, run: Run | Retrained) -> Outcome:
    """What a training that is over came to."""
    seed = assignment.seed
    trained = Trained(run.run if isinstance(run, Retrained) else run)
    found: dict[str, Any] = {each.kind: each(trained, generator(seed, "measure", each.kind)) for each in spec.measures}
    last = run.reports[-1]
    assert last.loss is not None
    assert last.accuracy is not None
    assert last.balanced_accuracy is not None
    shapes = assignment.network.layers(split.input_shape, split.classes)
    nnz = tuple(layer.count_active() for layer in run.layers.values())
    hashes = "/".join(f"{name}:{layer.connections.hash()}" for name, layer in run.layers.items())
    return Outcome(
        loss=last.loss,
        accuracy=last.accuracy,
        balanced_accuracy=last.balanced_accuracy,
        weights=sum(nnz),
        macs=macs(shapes, nnz),
        nnz=nnz,
        nnz_asked=assignment.counts,
        connections=hashlib.sha256(hashes.encode()).hexdigest(),
        storage=tuple(layer.storage for layer in run.layers.values()),
        egf_1=_mean([measured.egf_1 for measured in run.gradient_flow]),
        egf_2=_mean([measured.egf_2 for measured in run.gradient_flow]),
        seconds=math.fsum(report.seconds for report in run.reports),
        epochs=len(run.reports),
        flops=flops(shapes, nnz),
        latency=_latency(spec, trained.run) if "latency" in spec.search.objectives else None,
        measures=found,
    )


def _latency(spec: JobSpec, run: Run) -> float:
    # Of training samples: the test part is met once, and its inputs are no faster.
    return latency(run.network, run.split.train.x[: spec.training.batch_size])


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
