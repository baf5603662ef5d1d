"""Where a named data set lies: always inside the data directory."""

from pathlib import Path

from models.data.refusal import DataError


def inside(data_dir: Path | None, name: str, field: str = "data.name") -> Path:
    """The existing file or folder `name` of the data directory, symbolic links followed.

    field  of the job that names it

    Raises: DataError, if there is none, or if it lies outside.
    """
    if data_dir is None:
        raise DataError(f"{field}: {name!r} cannot be read; no data directory is given (--data-dir or SNAS_DATA_DIR)")
    root = data_dir.resolve()
    if not root.is_dir():
        raise DataError(f"{field}: {name!r} cannot be read; the data directory {data_dir} does not exist")
    try:
        path = (root / name).resolve()
        there = path.is_file() or path.is_dir()
    except (ValueError, OSError, RuntimeError):  # a null character, too long a name, links in a circle
        raise DataError(f"{field}: {name[:200]!r} is not a path that can be followed") from None
    if path == root or not path.is_relative_to(root):
        raise DataError(f"{field}: {name!r} is not allowed; it must be a path inside the data directory")
    if not there:
        raise DataError(f"{field}: {name!r} is not in the data directory; it holds {_listing(root)}")
    return path


def _listing(folder: Path, most: int = 20) -> str:
    names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"
