"""The generalisation gap: how much better a network does on what it learned from than on what it did not."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from models.evaluation import evaluate
from models.measures.measure import Trained
from models.networks.shapes import LayerShape
from models.types import setting


@setting
class Gap:
    """loss_gap: held-out minus training loss; accuracy_gap: training minus held-out accuracy, a share."""

    kind: Literal["gap"] = "gap"

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Nothing: any network can be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        run = trained.run
        learned = evaluate(run.network, run.split.train, run.loss, run.split.classes)
        held_out = run.reports[-1]
        assert held_out.loss is not None
        assert held_out.accuracy is not None
        return {
            "train_loss": learned.loss,
            "train_accuracy": learned.accuracy,
            "loss_gap": held_out.loss - learned.loss,
            "accuracy_gap": learned.accuracy - held_out.accuracy,
        }
