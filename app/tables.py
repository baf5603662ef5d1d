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
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
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
    Column("max_failed", Integer),  # more failed trials than that end the job
    Column("deadline", Float),  # no fresh slot of the search after it
    Column("paused_at", Float),  # since when the deadline stands still
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("error", Text),
    Column("cancel_requested", Boolean, nullable=False),
    Column("study_name", Text, nullable=False),
    Column("optuna_study_id", Integer),
    Column("earlier", _json(), nullable=False, server_default="[]"),  # ends, before further trials
    Column("report", _json()),
    Column("shared", Boolean, nullable=False, server_default=false()),  # every caller may see it
    Index(None, "created", "id", "name"),  # lists, and what is looked for in their names
    Index(None, "state", "created", "id"),
    Index(None, "finished"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("stage", String(16), nullable=False),  # of an earlier confirmation: `shortlist:1`, `final:1`, ...
    Column("ordinal", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # from 1
    Column("state", String(16), nullable=False),
    Column("ending", String(16)),  # the state that follows `finishing`; of a lost one: crashed or expired
    Column("number", Integer),  # Optuna's, of the search
    Column("assignment", _json()),
    Column("outcome", _json()),
    Column("worker_id", Text),
    Column("host", Text),
    Column("lease_until", Float),
    Column("started", Float),  # first handed out; a waiting run that has it is a repeat
    Column("finished", Float),
    Column("error", Text),
    Column("cpu_seconds", Float),
    Column("peak_bytes", BigInteger),
    UniqueConstraint("job_id", "stage", "ordinal", "attempt"),
    Index(None, "state", "lease_until"),
    Index(  # all that counting needs
        "ix_runs_counted",
        "job_id",
        "stage",
        "state",
        "started",
        "finished",
        "attempt",
        "ending",
        "cpu_seconds",
        "peak_bytes",
    ),
)

run_logs = Table(
    "run_logs",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("text", Text, nullable=False),
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

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", String(8), primary_key=True),  # the part of a key that may be shown
    Column("sha256", String(64), nullable=False),  # of the whole key, which is kept nowhere
    Column("owner", Text, nullable=False),
    Column("scope", String(8), nullable=False),
    Column("name", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("last_used", Float),
    Index(None, "owner"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the cookie
    Column("key_prefix", String(8), ForeignKey("api_keys.prefix"), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("owner", Text),  # null: nobody that is known
    Column("key_prefix", String(8)),
    Column("action", String(32), nullable=False),
    Column("target", Text),
    Column("address", Text),
    Column("detail", _json(), nullable=False),
    sqlite_autoincrement=True,
)

blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("created", Float, nullable=False),
    Column("touched", Float, nullable=False),  # when it was last written to
    Column("complete", Boolean, nullable=False),
)

blob_chunks = Table(
    "blob_chunks",
    metadata,
    Column("sha256", String(64), ForeignKey("blobs.sha256"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("owner", Text, nullable=False),
    Column("sha256", String(64), ForeignKey("blobs.sha256"), nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("format", String(8)),  # once it was read
    Column("label", Text, nullable=False),  # the target column, of a table
    Column("state", String(16), nullable=False),
    Column("preview", _json()),
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("attempt", Integer, nullable=False),  # how often a worker began to read it
    Column("worker_id", Text),
    Column("lease_until", Float),
    UniqueConstraint("owner", "name"),
    Index(None, "created", "id"),
    Index(None, "state"),
    Index(None, "sha256"),
)
