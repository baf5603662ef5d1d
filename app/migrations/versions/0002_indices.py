"""Indices for lists and counts that stay fast with many jobs and runs"""

from alembic import op

revision = "0002i"
down_revision = "0001"


def upgrade() -> None:
    op.drop_index("ix_jobs_created_id", "jobs")
    op.create_index("ix_jobs_created_id_name", "jobs", ["created", "id", "name"])
    op.drop_index("ix_jobs_state", "jobs")
    op.create_index("ix_jobs_state_created_id", "jobs", ["state", "created", "id"])
    op.create_index("ix_jobs_finished", "jobs", ["finished"])
    op.create_index(
        "ix_runs_job_id_stage_state_started_finished", "runs", ["job_id", "stage", "state", "started", "finished"]
    )


def downgrade() -> None:
    op.drop_index("ix_runs_job_id_stage_state_started_finished", "runs")
    op.drop_index("ix_jobs_finished", "jobs")
    op.drop_index("ix_jobs_state_created_id", "jobs")
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.drop_index("ix_jobs_created_id_name", "jobs")
    op.create_index("ix_jobs_created_id", "jobs", ["created", "id"])
