"""A list of data sets, and one data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from app import words
from app.client import Dataset
from app.printing.tables import Whole, table

STATE_STYLES = {"ready": "green", "refused": "red", "validating": "cyan"}


def datasets_table(datasets: Sequence[Dataset]) -> RenderableType:
    if not datasets:
        return Text("no data sets")
    shown = table("name", "state", "format", ">samples", "shape", ">classes", ">size", "id")
    for each in datasets:
        preview: Mapping[str, Any] = each["preview"] or {}
        shown.add_row(
            Text(each["name"]),
            _state(each),
            each["format"] or "",
            words.whole(preview.get("samples")),
            words.shape(preview.get("shape")),
            words.whole(preview.get("classes")),
            words.size(each["size"]),
            each["id"],
        )
    return Whole(shown)


def dataset_lines(dataset: Dataset) -> RenderableType:
    """What a data set is and what is in it."""
    lines = [
        Text(f"{dataset['name']}  {dataset['id']}", style="bold"),
        Text("state:    ").append(_state(dataset)).append(f" ({dataset['error']})" if dataset["error"] else ""),
        Text(f"file:     {dataset['format'] or 'not read yet'}, {words.size(dataset['size'])}"),
        Text(f"sha256:   {dataset['sha256']}"),
    ]
    if preview := dataset["preview"]:
        lines += [Text(f"{name + ':':<10}{value}") for name, value in words.preview(preview)]
    return Group(*lines)


def _state(dataset: Dataset) -> Text:
    return Text(dataset["state"], style=STATE_STYLES.get(dataset["state"], ""))
