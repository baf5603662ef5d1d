"""A report: Pareto front, shortlist, confirmation, verdict."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from app import words
from app.printing import sc_sdc
from app.printing.tables import table, titled

DENSITY_COLUMNS = 6  # deeper networks show the range of their densities

Report = Mapping[str, Any]


def result(report: Report) -> RenderableType:
    """Everything a reader wants at the end; parts that are not known yet are left out."""
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    if report["pareto"]:
        yield Text()
        yield _pareto(report)
    compared = report.get("sc_sdc")  # reports stored before there was one have no such field
    if compared is not None:
        yield Text()
        yield sc_sdc.comparison(compared)
    confirmation = report["confirmation"]
    if confirmation is not None:
        yield Text()
        yield _shortlist(confirmation)
        yield Text()
        yield _arms(confirmation)
        yield _test(confirmation)
    if report["verdict"] is not None:
        yield Text()
        yield Text("Verdict: ", style="bold").append(Text(report["verdict"], style="not bold"))
    yield Text()


def _pareto(report: Report) -> RenderableType:
    layers = [layer["name"] for layer in report["job"]["problem"]["layers"]]
    each_layer = len(layers) <= DENSITY_COLUMNS
    densities = [f">{name}" for name in layers] if each_layer else [">densities"]
    of_text = [">perplexity"] if any(point.get("perplexity") for point in report["pareto"]) else []
    shown = table(">trial", ">weights", ">MACs", ">accuracy", ">loss", *of_text, *densities)
    for point in report["pareto"]:
        found = [words.percent(density, 1) for density in point["densities"]]
        shown.add_row(
            str(point["trial"]),
            words.whole(point["weights"]),
            words.whole(point["macs"]),
            words.percent(point["accuracy"]),
            words.number(point["loss"]),
            *([words.number(point["perplexity"])] if of_text else []),
            *(found if each_layer else [_range(point["densities"])]),
        )
    return titled("Pareto front of the search: validation part, one seed each; densities by layer", shown)


def _range(densities: list[float]) -> str:
    return f"{words.percent(min(densities), 1)} to {words.percent(max(densities), 1)}"


def _shortlist(confirmation: Report) -> RenderableType:
    shown = table("candidate", ">weights", ">MACs", ">mean ± sd", "")
    for row in confirmation["shortlist"]:
        shown.add_row(
            row["label"].replace(":", " "),
            words.whole(row["weights"]),
            words.whole(row["macs"]),
            _mean(row),
            "winner" if row["winner"] else "",
        )
    return titled(f"Shortlist: {_measure(confirmation)} on the validation part, fresh seeds", shown)


def _arms(confirmation: Report) -> RenderableType:
    arms = confirmation["arms"]
    seeds = max(len(arm["accuracies"]) for arm in arms.values())
    shown = table("arm", ">weights", ">MACs", ">mean ± sd", ">difference", ">p", "")
    for name, arm in arms.items():
        difference, p = _compared(confirmation, name)
        shown.add_row(
            name,
            words.whole(arm["weights"]),
            words.whole(arm["macs"]),
            _mean(arm),
            "" if difference is None else words.points(difference),
            "" if p is None else words.probability(p),
            _note(arm),
        )
    return titled(f"Confirmation: {_measure(confirmation)} on the test part, {seeds} fresh seeds per arm", shown)


def _compared(confirmation: Report, name: str) -> tuple[float | None, float | None]:
    """How far `snas` is above this arm, and the p of that."""
    if name == "same_capacity" and confirmation["test"] is not None:
        return confirmation["test"]["mean_difference"], confirmation["p"]
    row = confirmation["exploratory"].get(name)
    return (row["difference"], row["p_holm"]) if row else (None, None)


def _note(arm: Report) -> str:
    notes = [f"= {arm['same_as']}"] if arm["same_as"] else []
    return "; ".join([*notes, f"{arm['failed']} failed"] if arm["failed"] else notes)


def _test(confirmation: Report) -> RenderableType:
    if confirmation["test"] is None:
        return Text("difference: of snas to the arm, points. p: two-sided, Holm-corrected, exploratory", style="dim")
    return Text(
        f"difference: of snas to the arm, points. p of same_capacity: {confirmation['test']['name']};"
        " of the others: two-sided, Holm-corrected, exploratory",
        style="dim",
    )


def _measure(confirmation: Report) -> str:
    return str(confirmation["measure"]).replace("_", " ")


def _mean(row: Report) -> str:
    if row["mean"] is None:
        return words.NONE
    spread = "" if row["sd"] is None else f" ± {100 * row['sd']:.2f}"
    return f"{100 * row['mean']:.2f}{spread} %"
