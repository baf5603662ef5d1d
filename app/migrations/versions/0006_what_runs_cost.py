"""What runs cost and what they wrote"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

COUNTED = ["job_id", "stage", "state", "started", "finished", "attempt", "ending"]


def upgrade() -> None:
    op.add_column("runs", sa.Column("cpu_seconds", sa.Float))
    op.add_column("runs", sa.Column("peak_bytes", sa.BigInteger))
    op.drop_index("ix_runs_job_id_stage_state_started_finished_attempt_ending", "runs")
    op.create_index("ix_runs_counted", "runs", [*COUNTED, "cpu_seconds", "peak_bytes"])
    op.create_table(
        "run_logs",
        sa.Column("run_id", sa.String(32), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("run_logs")
    op.drop_index("ix_runs_counted", "runs")
    op.create_index("ix_runs_job_id_stage_state_started_finished_attempt_ending", "runs", COUNTED)
    op.drop_column("runs", "peak_bytes")
    op.drop_column("runs", "cpu_seconds")
