"""Ingest processes that share the cameras."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("life", sa.String(32), nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("room", sa.Integer, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_members"),
    )


def downgrade() -> None:
    op.drop_table("members")
