"""Which match opens an incident, which extends one, and which is only counted: merge gap and cooldown."""

import msgspec

from shared.rules.document import Rule
from shared.rules.durations import SECOND
from shared.rules.values import Outcome


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

    def decide(self, rule: Rule, group: str, at: int) -> tuple[Outcome, int, int]:
        """What becomes of a match: its outcome, when its incident began, how many matches that has now.

        A match within `merge_gap` of the incident's last one extends it; one less than `cooldown` after the
        incident began is suppressed; two in one second are one incident, since its id is made from the second.
        """
        key = f"{rule.id}|{rule.major}|{group}"
        self._sweep(at)
        found = self._emitted.get(key)
        if found is None or not self._belongs(found, rule, at):
            until = at + max(rule.head.cooldown, rule.head.merge_gap, SECOND)
            self._emitted[key] = Emitted(at, at, 1, until)
            return "opened", at, 1
        found.count += 1
        merged = at - found.last <= rule.head.merge_gap or at // SECOND == found.at // SECOND
        if merged:
            found.last = at
            found.until = max(found.until, at + rule.head.merge_gap)
        return "extended" if merged else "suppressed", found.at, found.count

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
