"""The life of a job: pauses, a limit of failed trials, more trials for a completed job"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("max_failed", sa.Integer()))
    op.add_column("jobs", sa.Column("paused_at", sa.Float()))
    op.add_column("jobs", sa.Column("earlier", sa.JSON(none_as_null=True), server_default="[]", nullable=False))


def downgrade() -> None:
    for column in ("earlier", "paused_at", "max_failed"):
        op.drop_column("jobs", column)
