"""What was revoked, apart from the sessions and clients themselves, which may be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
    )
    op.create_index("ix_revocations_revoked_at", "revocations", ["revoked_at"])
    sessions = sa.table("sessions", sa.column("id"), sa.column("revoked_at"))
    revocations = sa.table("revocations", sa.column("id"), sa.column("revoked_at"))
    known = sa.select(sessions.c.id, sessions.c.revoked_at).where(
        sessions.c.revoked_at.is_not(None)
    )
    op.execute(sa.insert(revocations).from_select(["id", "revoked_at"], known))
