"""The one training loop: a generator that yields after each epoch. To stop, stop iterating."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from models import optimizers
from models.augmentation import augment, refuse_vectors
from models.autograd_steps import AutogradSteps
from models.averaging import averaged
from models.batches import batch_sizes, epoch_batches
from models.connections import Connections
from models.data.samples import Split
from models.evaluation import Evaluation, evaluate
from models.explored import Explored
from models.fused import FusedSteps, choose_storages
from models.layers import Dropout, sparse_layers
from models.leaks import ConnectionLeak as ConnectionLeak
from models.leaks import refuse_leaks
from models.losses import loss_function
from models.networks import AnyNetwork, LanguageModel
from models.placement import place
from models.plan import Diverged as Diverged
from models.plan import EpochReport as EpochReport
from models.plan import Evaluate as Evaluate
from models.plan import Plan as Plan
from models.plan import Stretch as Stretch
from models.probe import GradientFlow, probe
from models.recipe import Augmentation, Training
from models.rewiring import AnyRewiring, Moment
from models.seeds import generator
from models.streams import carrying, in_streams
from models.topologies import AnyTopology
from models.types import Storage


class Run:
    """One network in training: all it takes to continue bit for bit.

    network        the module, in training or evaluation mode as last used
    optimizer      torch's
    loss           the loss function; one of your own may take its place before `train` (a checkpoint does not keep it)
    epoch          epochs done
    reports        of the epochs done
    gradient_flow  every measure so far, that before training (epoch 0) included
    first          the connections it began with
    explored       every connection there has been; None before the first rewiring
    rewiring_state, streams  what the rewiring remembers, and the random streams that training draws from
    """

    def __init__(
        self, plan: Plan, connections: Sequence[Connections], split: Split, storage: Storage | None = None
    ) -> None:
        """At its beginning, on the device of the samples; `start` and `checkpoint.load` make runs.

        storage  of the weights, in place of the plan's
        """
        refuse_vectors(plan.training.augmentation, split.input_shape)
        _refuse_no_trigger(plan)
        _refuse_unread(plan, split)
        self.plan, self.split = plan, split
        weights, device = generator(plan.seed, "weights"), split.train.y.device
        if storage is None:
            left_open = plan.training.storage == "auto" and device.type != "cpu"
            storage = "masked" if left_open else plan.training.storage
        network = plan.network.build(split.input_shape, split.classes, connections, weights, storage)
        self.network = network.to(device)
        self.layers = sparse_layers(self.network)
        self.optimizer = optimizers.build(plan.training.optimizer, self.network)
        self._choose_storages()
        self.streams = {name: generator(plan.seed, name) for name in ("order", "augmentation", "dropout", "rewiring")}
        for module in self.network.modules():
            if isinstance(module, Dropout):
                module.generator = self.streams["dropout"]
        self.rewiring_state = plan.rewiring.start(list(self.layers.values()))
        self.first = tuple(connections)
        self.explored: Explored | None = None
        self.epoch = 0
        self.reports: list[EpochReport] = []
        self.gradient_flow: list[GradientFlow] = []
        self.loss = self._own_loss = loss_function(plan.training.loss, split.classes)
        self._sizes = batch_sizes(len(split.train), plan.training.batch_size, split.train.in_order)
        epochs, batch_size = plan.training.epochs, plan.training.batch_size
        self._probe = probe(split.train, epochs, batch_size, generator(plan.seed, "probe"))

    def train(self) -> Iterator[EpochReport]:
        """The remaining epochs, each once it is done.

        Raises: ConnectionLeak, after a rewiring that gained or lost connections; Diverged
        """
        while self.epoch < self.plan.training.epochs:
            yield self._drive(self.next_epoch())

    def next_epoch(self) -> Generator[Stretch, Tensor, EpochReport]:
        """One more epoch, whose optimizer steps somebody else takes: yields stretches of them, is sent their losses.

        Sent: float64 [steps], the mean loss of each batch before the step that learns from it.

        Raises: as `train`
        """
        if self.epoch == 0 and not self.gradient_flow:
            self._measure_gradient_flow()
        report = yield from self._train_epoch()
        self.reports.append(report)
        return report

    def evaluate(self) -> Evaluation:
        """Of the averages, where there are any."""
        with averaged(self.optimizer):
            return evaluate(self.network, self.split.held_out, self.loss, self.split.classes)

    @property
    def averages(self) -> bool:
        """Whether the steps of the next epoch are averaged."""
        averaging = self.plan.training.averaging
        losses = [report.loss for report in self.reports]
        return averaging is not None and averaging.begun(losses, self.plan.training.epochs)

    @property
    def plain(self) -> bool:
        """Whether a step is forward, backward and the optimizer's own, and nothing more."""
        return not self.averages and self.plan.training.clip is None

    def _drive(self, epoch: Generator[Stretch, Tensor, EpochReport]) -> EpochReport:
        losses: Tensor | None = None
        while True:
            try:
                stretch = next(epoch) if losses is None else epoch.send(losses)
            except StopIteration as end:
                report: EpochReport = end.value
                return report
            losses = self.steps()(stretch.batches, stretch.rates)

    def _train_epoch(self) -> Generator[Stretch, Tensor, EpochReport]:
        started, averages = time.perf_counter(), self.averages
        with carrying(self.network):
            train_loss, grown, lr = yield from self._learn()
        last = self.epoch + 1 == self.plan.training.epochs
        due = self.plan.evaluate == "every_epoch" or (self.plan.evaluate == "end" and last)
        held_out = self.evaluate() if due else None
        if held_out:
            self._refuse_divergence(held_out.loss)
        self.epoch += 1
        flow = self._measure_gradient_flow() if self.epoch in self._probe.epochs else None
        nnz = tuple(layer.count_active() for layer in self.layers.values())
        return EpochReport(
            epoch=self.epoch,
            train_loss=train_loss,
            loss=held_out.loss if held_out else None,
            accuracy=held_out.accuracy if held_out else None,
            balanced_accuracy=held_out.balanced_accuracy if held_out else None,
            nnz=nnz,
            churn=grown / sum(self.plan.counts),
            explored=(self.explored or self._active()).share,
            egf_1=flow.egf_1 if flow else None,
            egf_2=flow.egf_2 if flow else None,
            lr=lr,
            seconds=time.perf_counter() - started,
            averaged=averages,
        )

    def _learn(self) -> Generator[Stretch, Tensor, tuple[float, int, float]]:
        """One epoch of optimizer steps and rewirings: mean loss, connections grown, last learning rate."""
        plan, train = self.plan.training, self.split.train
        batches = epoch_batches(train, plan.batch_size, self.streams["order"])
        steps, before = plan.epochs * len(batches), self.epoch * len(batches)
        rates = [plan.optimizer.lr * plan.schedule(before + step, steps) for step in range(len(batches))]
        losses: list[Tensor] = []
        grown = taken = 0
        rewiring = self.plan.rewiring
        for step in range(1, len(batches) + 1):
            ends_epoch = step == len(batches)
            moment = Moment(before + step, steps, self.epoch + 1, plan.epochs, ends_epoch, self.plan.counts)
            due, observes = rewiring.due(moment), rewiring.observes(moment)
            until = step - 1 if observes else step
            if (due or observes or ends_epoch) and taken < until:
                losses.append((yield Stretch(batches[taken:until], rates[taken:until])))
                taken = until
            if observes:
                loss, moment = self._observe(batches[step - 1], rates[step - 1], moment)
                losses.append(loss)
                taken = step
            if due:
                self._refuse_divergence(losses[-1][-1].item())  # what is no number has no order to drop weights by
                grown += self._rewire(moment)
        mean_loss = (torch.cat(losses) @ torch.tensor(self._sizes).double()).item() / len(train)
        self._refuse_divergence(mean_loss)
        return mean_loss, grown, rates[-1]

    def steps(self) -> FusedSteps | AutogradSteps:
        """How the optimizer steps until the next rewiring are taken: the storages may be others after it."""
        plan, train, network = self.plan.training, self.split.train, self.network.train()
        augmented = plan.augmentation != Augmentation()
        if not augmented and self.plain and self.loss is self._own_loss:
            fused = FusedSteps.of(network, self.optimizer, plan.loss, train, plan.batch_size)
            if fused is not None:
                return fused
        return self._autograd_steps()

    def _autograd_steps(self) -> AutogradSteps:
        parts = self.network.train(), self.optimizer, self.loss, self.split.train, self.prepared
        return AutogradSteps(*parts, self.averages, self.plan.training.clip)

    def prepared(self, x: Tensor) -> Tensor:
        """A batch of inputs as the network learns from it: augmented, where the plan says so."""
        setting = self.plan.training.augmentation
        return x if setting == Augmentation() else augment(x, setting, self.streams["augmentation"])

    def _observe(self, batch: Tensor, rate: float, moment: Moment) -> tuple[Tensor, Moment]:
        """One step that the rewiring looks at: its loss, and the moment with what was seen."""
        rewiring, layers = self.plan.rewiring, list(self.layers.values())
        loss, gradients = self._autograd_steps().observed(batch, rate, layers, rewiring.learns(moment))
        moment = replace(moment, gradients=gradients)
        self.rewiring_state = rewiring.observe(self.rewiring_state, moment)
        return loss, moment

    def _rewire(self, moment: Moment) -> int:
        """How many connections were grown."""
        layers = list(self.layers.values())
        stream = self.streams["rewiring"]
        self.rewiring_state, rewired = self.plan.rewiring(self.rewiring_state, layers, moment, stream)
        self.explored = (self.explored or self._active()).after(rewired)
        optimizers.rewire(layers, rewired, self.optimizer)
        self._choose_storages()
        refuse_leaks(self.layers, self.plan.rewiring.asked(self.plan.counts, rewired, moment, self.rewiring_state))
        return sum(after.grown.numel() for after in rewired if after)

    def _choose_storages(self) -> None:
        if self.plan.training.augmentation == Augmentation():
            choose_storages(self.network, self.optimizer)

    def _active(self) -> Explored:
        return Explored(tuple(layer.connections for layer in self.layers.values()))

    def _refuse_divergence(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(self.epoch + 1)

    def _measure_gradient_flow(self) -> GradientFlow:
        self.gradient_flow.append(self._probe.measure(self.network, self.loss, self.epoch))
        return self.gradient_flow[-1]


def start(
    network: AnyNetwork,
    counts: Sequence[int],
    topology: AnyTopology,
    rewiring: AnyRewiring,
    training: Training,
    split: Split,
    seed: int,
    evaluate: Evaluate = "every_epoch",
    storage: Storage | None = None,
    data_dir: Path | None = None,
) -> Run:
    """A fresh run: every random stream derives from `seed`, torch's global one is neither read nor changed.

    counts    connections of each layer, as in `network.layers()`; where the rewiring starts with more, at the end
    split     on the device to train on
    storage   of the weights, in place of the training's: what it costs, not what it learns
    data_dir  where a topology finds the file that it names
    Raises: ValueError, if the network cannot take such inputs, a layer has fewer weights than asked, or the topology
    does not fit; ConnectionLeak, if it did not place the counts
    """
    plan = Plan(network, tuple(counts), topology, rewiring, training, seed, evaluate)
    totals = tuple(layer.total for layer in network.layers(split.input_shape, split.classes))
    starting = rewiring.starting(totals, plan.counts)
    placed = place(topology, network, starting, training.loss, split, seed, data_dir)
    run = Run(plan, placed.connections, split, storage)
    if placed.values is not None:
        for layer, values in zip(run.layers.values(), placed.values, strict=True):
            layer.assign(values)
    refuse_leaks(run.layers, starting)
    return run


def _refuse_no_trigger(plan: Plan) -> None:
    averaging = plan.training.averaging
    if averaging is not None and averaging.start is None and plan.evaluate != "every_epoch":
        raise ValueError(
            "averaging.start: null is not allowed in a training that is not evaluated after every epoch, as nothing "
            "would trigger the averaging; it must be a share of the epochs"
        )


def _refuse_unread(plan: Plan, split: Split) -> None:
    """A text is for language models alone, and they for it."""
    if isinstance(plan.network, LanguageModel) != split.train.in_order:
        read = "a text" if split.train.in_order else f"inputs of shape {split.input_shape}"
        raise ValueError(
            f"network: {plan.network.kind} cannot read {read}; a text is for language_model, and it for one"
        )
    if split.train.in_order:
        in_streams(len(split.train), plan.training.batch_size)
