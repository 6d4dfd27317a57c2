"""Ids that follow from what they stand for: said again after a crash, an event carries the same id."""

from __future__ import annotations

import uuid

NAMESPACE = uuid.UUID("6f1d6c2e-58a5-5b0e-9d0a-8d2b2f4f7c11")


def derived(source: str, type_name: str, ordinal: int = 0) -> str:
    """The id of the `ordinal`-th event of a type that follows from the event (or thing) `source`: a UUIDv5."""
    return str(uuid.uuid5(NAMESPACE, f"{source}/{type_name}/{ordinal}"))
