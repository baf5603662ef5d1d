"""From a job as it was sent to one that can be queued: its data set found, its shapes known, or a refusal."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from app import datasets, uploads
from app.callers import ADMIN, Caller
from app.datasets import Dataset, DatasetNotFound, DatasetNotReady
from app.settings import Settings
from models.data import Upload
from models.data.upload import kept_in
from search.faults import fault
from search.problem import Problem, examine
from search.spec import JobSpec

FILLED_IN = ("name", "id", "sha256", "format", "label")


def examined(db: Engine, settings: Settings, spec: JobSpec, caller: Caller) -> tuple[JobSpec, Problem]:
    """The job, with the hash of the data set that it trains on, and what it comes to.

    Raises: search.faults.InvalidSpec, DatasetNotFound, DatasetNotReady; blobs.BlobNotFound, deleted meanwhile.
    """
    if not isinstance(spec.data, Upload):
        return spec, examine(spec, settings.data_dir)
    found = _found(db, spec.data, caller)
    _check(spec.data, found)
    spec = replace(spec, data=_resolved(spec.data, found))
    with kept_in(uploads.fetch(db, settings.state_dir, found.sha256).parent):
        return spec, examine(spec, settings.data_dir)


def may_use(caller: Caller, dataset: Dataset) -> bool:
    return caller.scope == ADMIN or dataset.owner == caller.owner


def _found(db: Engine, data: Upload, caller: Caller) -> Dataset:
    if data.id is None:
        assert data.name is not None, "an upload has one of both"
        return datasets.named(db, caller.owner, data.name)
    found = datasets.get(db, data.id)
    if not may_use(caller, found):
        raise DatasetNotFound(f"no data set has the id {data.id!r}")
    return found


def _check(data: Upload, found: Dataset) -> None:
    if found.state in ("uploaded", "validating"):
        raise DatasetNotReady(f"the data set {found.name!r} was not read yet; try again when its state is ready")
    if found.state == "refused":
        raise _fault(data, found, f"the data set {found.name!r} was refused: {found.error}")
    # A job that is sent again carries what was filled in the first time.
    resolved = _resolved(data, found)
    for field in FILLED_IN:
        given, kept = getattr(data, field), getattr(resolved, field)
        if given not in (None, kept):
            words = f"{given!r} is not allowed; of the data set {found.name!r} it is {kept!r}"
            raise fault(f"data.{field}", given, words)


def _fault(data: Upload, found: Dataset, reason: str) -> Exception:
    return fault("data.name", data.name, reason) if data.name else fault("data.id", found.id, reason)


def _resolved(data: Upload, found: Dataset) -> Upload:
    kept: dict[str, Any] = {field: getattr(found, field) for field in ("name", "id", "sha256", "format")}
    return replace(data, **kept, label=found.label if found.format == "csv" else None)
