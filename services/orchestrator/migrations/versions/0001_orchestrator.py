"""Versions of rules and cameras, plans, incidents and their transitions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _versions()
    _incidents()


def _versions() -> None:
    op.create_table(
        "rules",
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rule_version", sa.String(64), nullable=False),
        sa.Column("rule_hash", sa.String(64), nullable=False),
        sa.Column("document", sa.LargeBinary()),
        sa.Column("effective_at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "revision", name="pk_rules"),
    )
    op.create_table(
        "cameras",
        sa.Column("camera", sa.String(64), nullable=False),
        sa.Column("document_version", sa.Integer(), nullable=False),
        sa.Column("effective_at", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("camera", "document_version", name="pk_cameras"),
    )
    op.create_table(
        "plans",
        sa.Column("camera", sa.String(64), nullable=False),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("camera", name="pk_plans"),
    )


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("incident", sa.String(36), nullable=False),
        sa.Column("camera", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("matched_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("suppressed", sa.Integer(), nullable=False),
        sa.Column("margin", sa.Float(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("tracks", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("incident", name="pk_incidents"),
    )
    op.create_index("ix_incidents_matched_at", "incidents", ["matched_at"])
    op.create_table(
        "transitions",
        sa.Column("incident", sa.String(36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("source", sa.String(16)),
        sa.Column("target", sa.String(16), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("request", sa.String(128)),
        sa.PrimaryKeyConstraint("incident", "seq", name="pk_transitions"),
        sa.ForeignKeyConstraint(
            ["incident"],
            ["incidents.incident"],
            name="fk_transitions_incident",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("event_id", name="uq_transitions_event_id"),
    )
    op.create_index("ix_transitions_request", "transitions", ["request"])
