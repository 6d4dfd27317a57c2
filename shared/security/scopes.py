"""Scopes are `resource:verb`; a role is a set of them."""

from __future__ import annotations

READS = frozenset(
    {"cameras:read", "events:read", "rules:read", "media:read", "channels:read"},
)
SCOPES = READS | {
    "cameras:write",
    "incidents:write",
    "rules:write",
    "channels:write",
    "probes:write",
    "logs:write",
    "metrics",
    "users:read",
    "users:write",
    "audit:read",
    "log:read",
    "log:replay",
}

ROLES: dict[str, frozenset[str]] = {
    "admin": SCOPES,
    "operator": READS | {"incidents:write"},
    "viewer": READS,
    # What our own processes may ask of each other: everything but people, their rights, what is logged, the log's tools.
    "service": SCOPES
    - {"users:read", "users:write", "audit:read", "log:read", "log:replay", "logs:write"},
}
HUMAN_ROLES = ("admin", "operator", "viewer")
