"""The chain of the audit trail: each entry's hash covers its content and the hash of the one before it. Pure.

Whoever changes, removes or reorders an entry must also change every hash after it; whoever cuts off the end is
found by a checkpoint that was signed before.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

GENESIS = "0" * 64
"""The hash before the first entry."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the trail, as it is hashed. `index` counts from 1 without a hole."""

    index: int
    event_id: str
    source: str
    correlation: str
    actor: str
    actor_kind: str
    action: str
    object: str
    outcome: str
    reason: str
    recorded_at: int


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain first does not hold, and why."""

    index: int
    reason: str


def chained(before: str, entry: Entry) -> str:
    """The hash of an entry: SHA-256 of the hash before it and the entry's values as a JSON array, in hex."""
    canonical = msgspec.json.encode(msgspec.structs.astuple(entry))
    return hashlib.sha256(before.encode() + canonical).hexdigest()


class Check:
    """Walks the chain from its first entry. `anchors`: hashes by index that were signed before."""

    def __init__(self, anchors: Mapping[int, str]) -> None:
        self.index = 0
        self.hash = GENESIS
        self._anchors = anchors

    def go_on(self, entries: Iterable[tuple[Entry, str]]) -> Break | None:
        """Check the next entries with their stored hashes; the first that does not hold ends it."""
        for entry, stored in entries:
            expected = self.index + 1
            if entry.index != expected:
                return Break(index=expected, reason=f"missing: {entry.index} comes next")
            if stored != chained(self.hash, entry):
                why = "its content, or what was before it, is not what was hashed"
                return Break(index=expected, reason=why)
            anchored = self._anchors.get(expected, stored)
            if stored != anchored:
                return Break(index=expected, reason="a signed checkpoint has another hash for it")
            self.index, self.hash = expected, stored
        return None

    def end(self) -> Break | None:
        """There are no more entries: nothing beyond may have been signed."""
        furthest = max(self._anchors, default=0)
        if furthest > self.index:
            why = f"missing: a signed checkpoint knows entries up to {furthest}"
            return Break(index=self.index + 1, reason=why)
        return None
