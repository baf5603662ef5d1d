"""The verdict in words: whether sparse beats dense at equal capacity, and whether the search beat its own starts."""

from collections.abc import Mapping, Sequence

from search.contest import AgainstStarts, Result
from search.gradual_start import NAME
from search.paired_test import LEVEL, Interval, SignedRank, smallest_p
from search.starts import PREFIX

SETTINGS = " Sparse arms have the settings that the search chose, dense arms those of its shortlist that suit them."


def against_dense(found: Mapping[str, Result], asked: bool, tested: tuple[Sequence[float], SignedRank] | None) -> str:
    """found: the arms by name; asked: whether the job has a `same_capacity` arm; tested: its differences and test."""
    if not asked:
        return "Sparse was not compared with dense at equal capacity: the job has no same_capacity arm."
    if "same_capacity" not in found:
        return (
            "Sparse cannot be compared with dense at equal capacity: even with one unit in each hidden layer the dense "
            f"network has more than {_count(found['snas'].average('weights'))} weights."
        )
    snas, dense = found["snas"], found["same_capacity"]
    if tested is None:
        return f"Sparse cannot be compared with dense at equal capacity: no seed completed in both.{_failures(found)}"
    _, test = tested
    numbers = f"{arm_words(snas, 'sparse')} against {arm_words(dense, 'dense')}"
    smallest = smallest_p(test.pairs - test.zeros)
    if smallest > LEVEL:
        ties = f", {test.zeros} of which are ties" if test.zeros else ""
        return (
            f"No verdict is possible with {_seeds(test.pairs)}{ties}, where the smallest p of the test is "
            f"{smallest:.4g}: {numbers}.{_failures(found)}"
        )
    finding = "sparse beats dense" if test.p <= LEVEL else "sparse does not beat dense"
    return (
        f"At equal capacity {finding}: {numbers} ({_seeds(test.pairs)}, one-sided paired Wilcoxon p = {test.p:.2g})."
        f"{_lengths(snas, dense)}{_failures(found)}"
    )


def against_starts(compared: AgainstStarts | None) -> str:
    if compared is None:
        return "The search was not compared with a start set by hand: its space contains none, or no seed completed."
    start = f"{compared.name} ({arm_words(compared.start)}, {_count(compared.start.average('macs'))} multiply-adds)"
    return _starts_in_words(compared, start) + (SETTINGS if compared.snas.arm.regime else "")


def _starts_in_words(compared: AgainstStarts, start: str) -> str:
    if compared.difference is None:
        return f"The search did not beat its own starts: the winner is one of them, {start}."
    points = _points(compared.difference)
    if compared.difference.above_zero:
        return (
            f"The search beat its own starts: {points} above the best of them, {start}; the winner takes "
            f"{_count(compared.snas.average('macs'))} multiply-adds."
        )
    finding = "was worse than its own start" if compared.difference.below_zero else "did not beat its own starts"
    return (
        f"The search {finding}: the winner ({_count(compared.snas.average('macs'))} multiply-adds) is {points} from "
        f"the best of them; recommended is that start, {_cost(compared)}: {start}."
    )


def _cost(compared: AgainstStarts) -> str:
    if compared.name.startswith(PREFIX):
        return "found by an earlier search"
    of_densities = " of densities" if compared.snas.arm.regime else ""
    return f"which costs no search{of_densities}" + (", but a pruning run" if compared.name == NAME else "")


def arm_words(result: Result, kind: str = "") -> str:
    """`97.31 ± 0.40 % with 26,620 sparse weights`."""
    assert result.mean is not None
    spread = "" if result.sd is None else f" ± {100 * result.sd:.2f}"
    weights = f"{_count(result.average('weights'))} {kind} weights".replace("  ", " ")
    return f"{100 * result.mean:.2f}{spread} % with {weights}"


def _points(difference: Interval) -> str:
    words = f"{100 * difference.mean:+.2f} points"
    if difference.low is None or difference.high is None:
        return f"{words} (one seed, no interval)"
    including = "" if difference.above_zero or difference.below_zero else ", which includes 0"
    return f"{words} (95 % interval {100 * difference.low:+.2f} to {100 * difference.high:+.2f}{including})"


def _failures(found: Mapping[str, Result]) -> str:
    failed = {name: found[name].failed for name in ("snas", "same_capacity") if found[name].failed}
    return "".join(f" Left out as they failed: {_runs(count)} of {name}." for name, count in failed.items())


def _lengths(snas: Result, dense: Result) -> str:
    """Where retraining made them differ."""
    sparse_epochs, dense_epochs = snas.average("epochs"), dense.average("epochs")
    if sparse_epochs == dense_epochs:
        return ""
    lengths = f"sparse {_count(sparse_epochs)} epochs in all, dense {_count(dense_epochs)}"
    return f" They were not trained for as long: {lengths}."


def _seeds(number: int) -> str:
    return f"{number} seed" if number == 1 else f"{number} seeds"


def _runs(number: int) -> str:
    return f"{number} run" if number == 1 else f"{number} runs"


def _count(number: float | None) -> str:
    assert number is not None
    return f"{number:,.0f}"
