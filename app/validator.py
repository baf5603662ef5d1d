"""One uploaded data set from claim to end, as a supervisor sees it: fetch, have it read, and store what was found."""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Engine

from app import uploads, validations
from app.blobs import BlobNotFound
from app.database import now
from app.inspection import Accepted, Inspection, Refused
from app.line import Died
from app.outages import Patience
from app.settings import Settings
from app.validations import Validation

LOOK_EVERY = 1.0  # seconds

log = logging.getLogger(__name__)


def attend(
    settings: Settings,
    db: Engine,
    held: Validation,
    patiently: Patience,
    disconnect: Callable[[], None],
    stopping: Callable[[], bool],
) -> None:
    """disconnect: closes every database connection of this process. Raises: app.fences.Fenced, outages.NoAnswer."""
    lease = _Lease(settings, db, held)
    try:
        path = patiently(lambda: uploads.fetch(db, settings.state_dir, held.sha256, lease.renew_in_time))
    except (BlobNotFound, uploads.Damaged) as error:
        reason = str(error)
        patiently(lambda: validations.refuse(db, held, reason))
        return
    disconnect()  # a connection must not be open in two processes
    inspection = Inspection(path, held.name, held.label, settings.largest_dataset)
    try:
        found = None
        while found is None and not stopping():
            found = inspection.receive(min(LOOK_EVERY, settings.lease_seconds / 3))
            patiently(lease.renew_in_time)
        patiently(lambda: _store(db, held, found))
    except Died as error:
        log.warning("the process that read the data set %s: %s", held.dataset_id, error)
        reason = str(error)
        patiently(lambda: validations.crash(db, held, reason, settings.max_attempts))
    finally:
        inspection.kill()


def _store(db: Engine, held: Validation, found: Accepted | Refused | None) -> None:
    match found:
        case Accepted(format_, preview):
            validations.accept(db, held, format_, preview)
        case Refused(reason):
            validations.refuse(db, held, reason)
        case None:
            validations.release(db, held)
    log.info("data set %s: %s", held.dataset_id, "given back" if found is None else type(found).__name__.lower())


class _Lease:
    def __init__(self, settings: Settings, db: Engine, held: Validation) -> None:
        self._seconds, self._db, self._held = settings.lease_seconds, db, held
        self._renewed = time.monotonic()

    def renew_in_time(self) -> None:
        """Raises: app.fences.Fenced."""
        if time.monotonic() - self._renewed >= self._seconds / 3:
            validations.renew(self._db, self._held, now(self._db), self._seconds)
            self._renewed = time.monotonic()
