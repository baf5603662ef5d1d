"""The tables of the jobs database. Times are UTC seconds since 1970, by the clock of the database's host."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    # Named constraints: SQLite can change a table only by copying it, and then must name what it drops.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _json() -> JSON:
    return JSON(none_as_null=True)


jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(16), nullable=False),  # whose runs are handed out: search, shortlist, final
    Column("spec", _json(), nullable=False),
    Column("problem", _json(), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("trials", Integer, nullable=False),  # asked
    Column("next_ordinal", Integer, nullable=False),  # of the search: how many slots were handed out
    Column("max_parallel", Integer),
    Column("max_seconds", Float),
    Column("deadline", Float),  # no fresh slot of the search after it
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("error", Text),
    Column("cancel_requested", Boolean, nullable=False),
    Column("study_name", Text, nullable=False),
    Column("optuna_study_id", Integer),
    Column("report", _json()),
    Index(None, "created", "id", "name"),  # lists, and what is looked for in their names
    Index(None, "state", "created", "id"),
    Index(None, "finished"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # from 1
    Column("state", String(16), nullable=False),
    Column("ending", String(16)),  # the state that follows `finishing`
    Column("number", Integer),  # Optuna's, of the search
    Column("assignment", _json()),
    Column("outcome", _json()),
    Column("worker_id", Text),
    Column("host", Text),
    Column("lease_until", Float),
    Column("started", Float),  # first handed out; a waiting run that has it is a repeat
    Column("finished", Float),
    Column("error", Text),
    UniqueConstraint("job_id", "stage", "ordinal", "attempt"),
    Index(None, "state", "lease_until"),
    Index(None, "job_id", "stage", "state", "started", "finished"),  # all that counting needs
)

curves = Table(
    "curves",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("loss", Float),
    Column("weights", Integer, nullable=False),
    Column("data", _json(), nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("type", String(32), nullable=False),
    Column("data", _json(), nullable=False),
    Index(None, "job_id", "seq"),
    sqlite_autoincrement=True,  # a number is never given twice, even after rows were deleted
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("created", Float, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Float, nullable=False),
)
