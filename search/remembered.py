"""The data that this process has read and split: a worker trains run after run on the same."""

from functools import lru_cache
from pathlib import Path

from models.data import AnyData
from models.data.samples import DataSet, Split, final_split, search_split


class DataChanged(RuntimeError):
    """The data is no longer what the job was submitted with: its trials could not be compared."""


def split(setting: AnyData, data_dir: Path | None, seed: int, data_hash: str | None, validation: float | None) -> Split:
    """The samples of a training, standardised.

    seed        of the data, if they are generated, and of the validation part
    validation  share held out in the search; None for the final split, against the test part
    """
    return _split(load(setting, data_dir, seed, data_hash), seed, validation)


def load(setting: AnyData, data_dir: Path | None, seed: int, data_hash: str | None) -> DataSet:
    """The data set, read again only where what is remembered is not what the job was submitted with.

    data_hash  of that data; None accepts any

    Raises: DataError, DataChanged
    """
    data = _load(setting, data_dir, seed)
    if data_hash not in (None, data.hash):
        _load.cache_clear()
        data = _load(setting, data_dir, seed)
    if data_hash not in (None, data.hash):
        raise DataChanged(f"{data.name} has changed: the job was submitted with {data_hash}, found is {data.hash}")
    return data


@lru_cache(maxsize=2)
def _load(setting: AnyData, data_dir: Path | None, seed: int) -> DataSet:
    return setting.load(data_dir, seed)


@lru_cache(maxsize=1)
def _split(data: DataSet, seed: int, validation: float | None) -> Split:
    return final_split(data) if validation is None else search_split(data, validation, seed)
