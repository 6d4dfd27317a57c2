"""Which match opens an incident, which extends one, and which is only counted: merge gap and cooldown."""

import msgspec

from shared.rules.document import Rule
from shared.rules.durations import SECOND
from shared.rules.values import Match


class Emitted(msgspec.Struct, array_like=True):
    """The newest incident of one rule and group."""

    at: int
    last: int
    count: int
    until: int


class Emission:
    """The newest incident of every rule (by major version) and group; forgets those that can act no more."""

    def __init__(self) -> None:
        self._emitted: dict[str, Emitted] = {}
        self._swept = 0

    def decide(self, match: Match, rule: Rule) -> Match:
        """The match with its outcome.

        A match within `merge_gap` of the incident's last one extends it; one less than `cooldown` after the
        incident began is suppressed; two in one second are one incident, since its id is made from the second.
        """
        at, key = match.matched_at, f"{rule.id}|{rule.major}|{match.group}"
        self._sweep(at)
        found = self._emitted.get(key)
        if found is None or not self._belongs(found, rule, at):
            until = at + max(rule.head.cooldown, rule.head.merge_gap, SECOND)
            self._emitted[key] = Emitted(at, at, 1, until)
            return msgspec.structs.replace(match, outcome="opened", incident_at=at, count=1)
        found.count += 1
        merged = at - found.last <= rule.head.merge_gap or at // SECOND == found.at // SECOND
        if merged:
            found.last = at
            found.until = max(found.until, at + rule.head.merge_gap)
        return msgspec.structs.replace(
            match,
            outcome="extended" if merged else "suppressed",
            incident_at=found.at,
            count=found.count,
        )

    def dump(self, at: int) -> dict[str, Emitted]:
        """What `load` needs at `at` and later."""
        return {key: one for key, one in sorted(self._emitted.items()) if one.until >= at}

    def load(self, state: dict[str, Emitted]) -> None:
        """Go on from a dump."""
        self._emitted = dict(state)

    @staticmethod
    def _belongs(found: Emitted, rule: Rule, at: int) -> bool:
        head = rule.head
        return (
            at - found.last <= head.merge_gap
            or at - found.at < head.cooldown
            or at // SECOND == found.at // SECOND
        )

    def _sweep(self, at: int) -> None:
        """Once a minute of event time."""
        minute = at // (60 * SECOND)
        if minute != self._swept:
            self._swept = minute
            self._emitted = {k: one for k, one in self._emitted.items() if one.until >= at}
