"""Many trainings, one row each: kept as they come, so that a program that was cut goes on where it was."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.jobs import keep, kept

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Case = TypeVar("Case", bound="DataclassInstance")
Row = dict[str, Any]


def arguments(description: str | None) -> Namespace:
    """Of a program whose trainings read data sets from a directory."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def rows_of(name: str, cases: Sequence[Case], measure: Callable[[Path, Case], Row], options: Namespace) -> list[Row]:
    """The fields of each case with what `measure` found, in the order of the cases.

    Rows that docs/results/{name}.json has are not measured again; remove the file to measure anew.
    """
    rows = kept(name, "rows")
    missing = [case for case in cases if _of(rows, case) is None]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(measure, options.data_dir, case): case for case in missing}
        for done, future in enumerate(as_completed(futures), start=1):
            rows.append(asdict(futures[future]) | future.result())
            keep(name, {"rows": rows})
            print(f"{done} of {len(missing)}: {futures[future]}", flush=True)
    found = [_of(rows, case) for case in cases]
    return [row for row in found if row is not None]


def _of(rows: Sequence[Row], case: "DataclassInstance") -> Row | None:
    fields = asdict(case)
    return next((row for row in rows if {field: row[field] for field in fields} == fields), None)


def shown(values: Sequence[float]) -> str:
    """Shares as `mean ± sd` in percent."""
    return f"{100 * mean(values):.2f} ± {100 * stdev(values):.2f}"
