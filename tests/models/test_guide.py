"""The code of models/README.md is run as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small_problem import IMAGE, begin, classes_in_space, measured
from untrained_problem import seen

import models
from models.networks import VGG
from models.recipe import Training
from models.seeds import generator

GUIDE = (Path(models.__file__).parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)


def defined(name: str) -> Any:
    [block] = [block for block in BLOCKS if f"class {name}" in block]
    namespace: dict[str, Any] = {"__name__": "guide"}
    exec(block, namespace)
    return namespace[name]


def test_the_first_example_trains(capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[0], {"__name__": "guide"})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3", "4", "5"]


def test_the_topology_places_exactly_what_is_asked_near_the_diagonal() -> None:
    network = seen(VGG(channels=(4, "pool"), widths=(8,)), classes_in_space(IMAGE))
    counts = [layer.total // 3 for layer in network.layers]
    placed = defined("Nearby")(blur=0.01)(network, counts, generator(0))
    assert [active.nnz for active in placed] == counts
    rows, columns = placed[1].positions // 64, placed[1].positions % 64
    assert ((rows / 8 - columns / 64).abs() < 0.3).all()


def test_the_rewiring_trains_without_a_leak_and_repeats() -> None:
    setting = defined("Magnitude")(fraction=0.4, every=4)
    runs = [begin(rewiring=setting, split=classes_in_space(), training=Training(epochs=3, batch_size=16)) for _ in "ab"]
    for run in runs:
        list(run.train())
    assert measured(runs[0]) == measured(runs[1])
    assert runs[0].reports[0].churn > 0
    assert all(torch.equal(*(run.network.state_dict()[name] for run in runs)) for name in runs[0].network.state_dict())
