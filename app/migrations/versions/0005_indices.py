"""Indices for lists and counts that stay fast with many jobs and runs"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.drop_index("ix_jobs_created_id", "jobs")
    op.create_index("ix_jobs_created_id_name", "jobs", ["created", "id", "name"])
    op.drop_index("ix_jobs_state", "jobs")
    op.create_index("ix_jobs_state_created_id", "jobs", ["state", "created", "id"])
    op.create_index("ix_jobs_finished", "jobs", ["finished"])
    op.create_index(
        "ix_runs_job_id_stage_state_started_finished_attempt_ending",
        "runs",
        ["job_id", "stage", "state", "started", "finished", "attempt", "ending"],
    )


def downgrade() -> None:
    op.drop_index("ix_runs_job_id_stage_state_started_finished_attempt_ending", "runs")
    op.drop_index("ix_jobs_finished", "jobs")
    op.drop_index("ix_jobs_state_created_id", "jobs")
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.drop_index("ix_jobs_created_id_name", "jobs")
    op.create_index("ix_jobs_created_id", "jobs", ["created", "id"])
