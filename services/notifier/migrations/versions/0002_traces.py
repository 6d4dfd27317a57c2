"""Deliveries know the trace and the correlation of the alert that they carry."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, length in (("traceparent", 64), ("correlation", 128)):
        column = sa.Column(name, sa.String(length), nullable=False, server_default="")
        op.add_column("deliveries", column)
