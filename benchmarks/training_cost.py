"""What a training multiplies, step by step, as the authors of RigL count it (arXiv 1911.11134, appendix G)."""

from models.training import Run


def train_counted(run: Run) -> float:
    """Trains to the end; multiply-adds of all steps as a multiple of those of the same network, dense.

    A step multiplies each active weight three times a sample: forward, to the inputs, to the weight's gradient. Where a
    rewiring looks at the gradients of absent connections, the last of the three is by every weight. Fully connected
    networks alone, whose weights are each used once a sample.
    """
    samples = run.plan.training.epochs * len(run.split.train)
    total = sum(layer.connections.total for layer in run.layers.values())
    multiplied = sum(_epoch(run, total) for _ in range(run.plan.training.epochs))
    return multiplied / (3 * total * samples)


def _epoch(run: Run, total: int) -> int:
    multiplied, unobserved = 0, 0
    epoch = run.next_epoch()
    losses = None
    while True:
        try:
            stretch = next(epoch) if losses is None else epoch.send(losses)
        except StopIteration:
            # The other steps were taken by the rewiring's side: those move connections and keep the network's number.
            observed = len(run.split.train) - unobserved
            return multiplied + observed * (2 * _active(run) + total)
        samples = sum(map(len, stretch.batches))
        unobserved += samples
        multiplied += 3 * samples * _active(run)
        losses = run.steps()(stretch.batches, stretch.rates)


def _active(run: Run) -> int:
    return sum(layer.connections.nnz for layer in run.layers.values())
