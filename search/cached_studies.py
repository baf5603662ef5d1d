"""Optuna's trials as a worker reads them: those that ended are read once, not again for every trial it asks for."""

from collections import OrderedDict

from optuna.storages import BaseStorage, RDBStorage, get_storage

KEPT = 8
"""Studies whose trials are kept: a worker turns from job to job, and does not come back to most of them."""


class CachedStudies:
    """A storage behind a cache for each of the studies that were asked for last."""

    def __init__(self, storage: RDBStorage) -> None:
        self._storage = storage
        self._caches: OrderedDict[str, BaseStorage] = OrderedDict()

    def of(self, study_name: str) -> BaseStorage:
        """The same storage, which remembers the trials of this study that have ended."""
        if study_name not in self._caches:
            self._caches[study_name] = get_storage(self._storage)
        self._caches.move_to_end(study_name)
        if len(self._caches) > KEPT:
            self._caches.popitem(last=False)
        return self._caches[study_name]
