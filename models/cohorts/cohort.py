"""Runs of one plan, in lockstep."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from models.cohorts.stack import can_stack
from models.cohorts.steps import take

if TYPE_CHECKING:
    from models.training import EpochReport, Run, Stretch


class Cohort:
    """Trains several runs at once, each as if alone: what a run becomes does not depend on the others.

    Their plans differ in counts and seeds alone. Networks that are sequences of known parts, their weights masked, take
    their steps as one; of others each takes its own. A run may leave between epochs, the others go on.
    """

    def __init__(self, runs: Sequence["Run"]) -> None:
        """Raises: ValueError for runs that cannot go together."""
        if not runs:
            raise ValueError("runs: none; a cohort needs one at least")
        if len({_plan(run) for run in runs}) > 1 or len({run.epoch for run in runs}) > 1:
            raise ValueError("runs: their plans differ in more than counts and seeds, or they are at different epochs")
        if not all(run.split is runs[0].split for run in runs):
            raise ValueError("runs: a cohort shares one split")
        self._runs = list(runs)

    @property
    def runs(self) -> "Sequence[Run]":
        """Those still there."""
        return tuple(self._runs)

    def leave(self, run: "Run") -> None:
        self._runs.remove(run)

    def train(self) -> Iterator[Mapping["Run", "EpochReport | Exception"]]:
        """The remaining epochs: what each run reports, or what it raised, by which it has left."""
        while self._runs and self._runs[0].epoch < self._runs[0].plan.training.epochs:
            yield self._epoch()

    def _epoch(self) -> dict["Run", "EpochReport | Exception"]:
        epochs = {run: run.next_epoch() for run in self._runs}
        losses: dict[Run, Tensor | None] = dict.fromkeys(epochs)
        ended: dict[Run, EpochReport | Exception] = {}
        while epochs:
            stretches: dict[Run, Stretch] = {}
            for run, epoch in list(epochs.items()):
                there = _advance(epoch, losses[run])
                if isinstance(there, Ended):
                    ended[run] = there.value
                    del epochs[run]
                else:
                    stretches[run] = there
            if stretches:
                losses = dict(zip(stretches, self._take(stretches), strict=True))
        for run, what in ended.items():
            if isinstance(what, Exception):
                self._runs.remove(run)
        return ended

    def _take(self, stretches: "Mapping[Run, Stretch]") -> Iterable[Tensor]:
        # Asked each time: a rewiring may have changed how weights are kept.
        if all(run.plain and can_stack(run.network) for run in stretches):
            return take(list(stretches), list(stretches.values()))
        return [run.steps()(stretch.batches, stretch.rates) for run, stretch in stretches.items()]


class Ended:
    """An epoch that asks for no more steps."""

    def __init__(self, value: "EpochReport | Exception") -> None:
        self.value = value


def _advance(epoch: "Generator[Stretch, Tensor, EpochReport]", losses: Tensor | None) -> "Stretch | Ended":
    try:
        return next(epoch) if losses is None else epoch.send(losses)
    except StopIteration as end:
        return Ended(end.value)
    # Whatever one training raises is its own end; the others must not suffer for it.
    except Exception as error:  # noqa: BLE001
        return Ended(error)


def _plan(run: "Run") -> tuple[object, ...]:
    plan = run.plan
    return plan.network, plan.rewiring, plan.training, plan.evaluate
