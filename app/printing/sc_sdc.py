"""A comparison at the same capacity: the tests and the gradient flow, by regime."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from app import words
from app.printing.tables import table, titled

REGIME = ("optimizer", "activation", "regularisers")


def comparison(shown: Mapping[str, Any]) -> RenderableType:
    """shown: the report's `sc_sdc`"""
    return Group(*_parts(shown))


def _parts(shown: Mapping[str, Any]) -> Iterator[RenderableType]:
    crossed = [name for name in REGIME if any(name in row for row in shown["tests"])]
    tests = table(*crossed, "initialisation", ">pairs", ">difference", ">p", ">p (Holm)")
    for row in shown["tests"]:
        tests.add_row(
            *(row[name] for name in crossed),
            row["initialisation"],
            str(row["pairs"]),
            words.points(row["mean_difference"]),
            words.probability(row["p"]),
            words.probability(row["p_holm"]),
        )
    yield titled("Sparse above dense, equal capacity in every layer: one-sided paired Wilcoxon signed-rank", tests)
    yield Text()
    flow = table(*crossed, "network", ">runs", ">accuracy", ">loss", ">EGF 1", ">EGF 2")
    for row in shown["gradient_flow"]:
        flow.add_row(
            *(row[name] for name in crossed),
            row["arm"],
            str(row["runs"]),
            words.percent(row["mean"]),
            words.number(row["loss"]),
            words.number(row["egf_1"]),
            words.number(row["egf_2"]),
        )
    yield titled(f"Effective gradient flow and {shown['measure'].replace('_', ' ')}, means over widths and seeds", flow)
