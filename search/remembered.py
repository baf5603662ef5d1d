"""The data sets that this process has read: a worker trains run after run on one."""

from functools import lru_cache
from pathlib import Path

from models.data import AnyData
from models.data.samples import DataSet


class DataChanged(RuntimeError):
    """The data is no longer what the job was submitted with: its trials could not be compared."""


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
