"""How every table of the command line looks."""

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDEST = 10_000  # columns


def table(*columns: str) -> Table:
    """Columns whose names begin with `>` hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        number = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if number else "left", no_wrap=True)
    return made


def titled(title: str, shown: Table) -> Group:
    # rich would break a title into lines at the table's own width.
    return Group(Text(title, style="bold"), Whole(shown))


class Whole:
    """A table that keeps its figures on a narrow terminal, where rich would cut them short; print it uncropped."""

    def __init__(self, shown: Table) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = Measurement.get(console, options.update(width=WIDEST), self._shown).maximum
        yield from console.render(self._shown, options.update(width=max(needed, options.max_width)))
