"""The register of rules: every change is a revision with an event time from which it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy.exc import IntegrityError

from schemas.cloudevents import rfc3339
from schemas.events.rule_defined import RuleDefined
from schemas.topics import RULES
from services.orchestrator import store
from services.orchestrator.handlers import tell
from shared.audit import Audit
from shared.errors import Conflict, NotFound
from shared.rules.document import Rule, load
from shared.rules.errors import RuleError, problem
from shared.rules.lint import warnings
from shared.rules.rehearsal import Rehearsed, rehearse
from shared.rules.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.orchestrator.knowledge import Knowledge
    from services.orchestrator.store import RuleRow
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database

SETTLE_US = 2_000_000
"""A change counts from so long after it was made on, so that it is known everywhere before its time comes."""
FOR_EVER = 1 << 62


class Rules:
    """Rule documents and their revisions."""

    def __init__(
        self, database: Database, publisher: Publisher, clock: Clock, knowledge: Knowledge
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._knowledge = knowledge
        self._audit = Audit(publisher, clock)

    async def all(self) -> list[dict[str, Any]]:
        """The rules there are now."""
        async with self._database.read() as reader:
            rows = await store.newest_rules(reader)
        return [self._shown(row) for row in rows if row.document is not None]

    async def one(self, rule: str) -> dict[str, Any]:
        """One rule.

        Raises:
            NotFound: there is none of this id.
        """
        return self._shown(await self._present(rule))

    async def versions(self, rule: str) -> list[dict[str, Any]]:
        """All revisions of a rule, the newest first, removed ones included.

        Raises:
            NotFound: there never was one of this id.
        """
        async with self._database.read() as reader:
            rows = await store.rule_history(reader, rule)
        if not rows:
            raise _no_rule(rule)
        return [_revision(row) for row in reversed(rows)]

    async def add(self, document: Mapping[str, Any], author: str) -> dict[str, Any]:
        """Add a rule.

        Raises:
            RuleError: the document cannot be loaded, or one of its own tests fails.
            Conflict: there is a rule of this id.
        """
        rule = self._checked(document)
        last = await self._last(rule.id)
        if last is not None and last.document is not None:
            raise Conflict(f"id: there is a rule {rule.id!r} already; change it, or use another id")
        return self._shown(await self._save(rule, last, author))

    async def change(
        self, id: str, document: Mapping[str, Any], author: str, revision: int | None
    ) -> dict[str, Any]:
        """Change a rule; nothing is said where nothing changes.

        Raises:
            NotFound: there is none of this id.
            RuleError: the document cannot be loaded, is another rule's, or fails its own tests.
            Conflict: the newest revision is not the one that was expected.
        """
        last = await self._present(id)
        if revision is not None and revision != last.revision:
            raise Conflict(
                f"revision: the newest is {last.revision}, not {revision}; look at it and try again"
            )
        rule = self._checked(document)
        if rule.id != id:
            remedy = f"write {id!r}, or add it as a rule of its own"
            raise RuleError([problem("$.id", rule.id, "this is another rule's id", remedy)])
        if rule.hash == last.rule_hash:
            return self._shown(last)
        return self._shown(await self._save(rule, last, author))

    async def remove(self, id: str, author: str) -> None:
        """Remove a rule; its revisions stay.

        Raises:
            NotFound: there is none of this id.
        """
        last = await self._present(id)
        now = self._clock.now()
        ended = _defined(last, self._effective(last, now), author)
        try:
            async with self._database.transaction() as tx:
                await store.end_rule(tx, ended, now=now)
                entry = self._audit.entry("rule.removed", f"rule:{id}")
                await tx.add([self._publisher.tombstone(RULES, id), entry])
        except IntegrityError:
            raise _outrun() from None
        self._knowledge.remove(id, ended.revision, ended.effective_at)

    def lint(self, document: object) -> dict[str, Any]:
        """What is wrong with a document, what is worth a warning, and how its tests go."""
        try:
            rule = load(document)
        except RuleError as error:
            return {"ok": False, "rule": _id(document), "problems": _problems(error.problems)}
        tests = rehearse(rule, self._stage_for(rule), self._scenes())
        return {
            "ok": all(test.passed or test.problem for test in tests),
            "rule": rule.id,
            "problems": [],
            "warnings": _problems(warnings(rule, self._scenes())),
            "tests": [_test(test) for test in tests],
        }

    async def test(self, id: str) -> dict[str, Any]:
        """Run the tests of a stored rule.

        Raises:
            NotFound: there is none of this id.
        """
        row = await self._present(id)
        return self.lint(row.document)

    def _checked(self, document: Mapping[str, Any]) -> Rule:
        rule = load(document)
        failed = [
            problem(
                f"$.tests[{test.index}]",
                rule.document["tests"][test.index],
                f"the rule {'fires' if test.fired else 'does not fire'} in this test",
                "correct the rule or the test",
            )
            for test in rehearse(rule, self._stage_for(rule), self._scenes())
            if not test.passed and not test.problem
        ]
        if failed:
            raise RuleError(failed)
        return rule

    async def _save(self, rule: Rule, last: RuleRow | None, author: str) -> RuleRow:
        now = self._clock.now()
        defined = RuleDefined(
            rule=rule.id,
            revision=1 if last is None else last.revision + 1,
            rule_version=rule.head.version,
            rule_hash=rule.hash,
            document=dict(rule.document),
            effective_at=self._effective(last, now),
            author=author,
        )
        try:
            async with self._database.transaction() as tx:
                await store.add_rule(tx, defined, now=now)
                deed = "rule.added" if last is None or last.document is None else "rule.changed"
                told = f"revision {defined.revision}"
                entry = self._audit.entry(deed, f"rule:{rule.id}", reason=told)
                await tx.add([self._publisher.mint(defined), entry])
        except IntegrityError:
            raise _outrun() from None
        row = await self._present(rule.id)
        tell(self._knowledge, row)
        return row

    @staticmethod
    def _effective(last: RuleRow | None, now: int) -> int:
        soon = now + SETTLE_US
        return soon if last is None else max(soon, last.effective_at + 1)

    async def _last(self, id: str) -> RuleRow | None:
        async with self._database.read() as reader:
            rows = await store.newest_rules(reader, id)
        return rows[0] if rows else None

    async def _present(self, id: str) -> RuleRow:
        row = await self._last(id)
        if row is None or row.document is None:
            raise _no_rule(id)
        return row

    def _scenes(self) -> dict[str, Scene]:
        return self._knowledge.scenes.as_of(FOR_EVER)

    def _stage_for(self, rule: Rule) -> Scene:
        """Where its tests are run: the first camera in its scope, or a bare one."""
        scenes = self._scenes()
        fitting = [scene for name, scene in sorted(scenes.items()) if rule.covers(name)]
        return fitting[0] if fitting else Scene(camera="test")

    def _shown(self, row: RuleRow) -> dict[str, Any]:
        document = row.document or {}
        broken = self._knowledge.broken.get(row.rule, ())
        rule = None if broken else load(document)
        found = () if rule is None else warnings(rule, self._scenes())
        named = () if rule is None else {c for part in rule.parts.values() for c in part.cameras}
        return {
            **_revision(row),
            "title": document.get("title", row.rule),
            "level": document.get("level", "medium"),
            "status": document.get("status", "stable"),
            "cameras": document.get("scope", {}).get("cameras", []) or sorted(named),
            "problems": _problems(broken),
            "warnings": _problems(found),
        }


def _defined(row: RuleRow, effective_at: int, author: str) -> RuleDefined:
    return RuleDefined(
        rule=row.rule,
        revision=row.revision + 1,
        rule_version=row.rule_version,
        rule_hash=row.rule_hash,
        document={},
        effective_at=effective_at,
        author=author,
    )


def _revision(row: RuleRow) -> dict[str, Any]:
    return {
        "id": row.rule,
        "revision": row.revision,
        "rule_version": row.rule_version,
        "rule_hash": row.rule_hash,
        "effective_at": rfc3339(row.effective_at),
        "saved_at": rfc3339(row.saved_at),
        "author": row.author,
        "document": row.document,
    }


def _problems(problems: object) -> list[dict[str, str]]:
    return msgspec.convert(msgspec.to_builtins(problems), list[dict[str, str]])


def _test(test: Rehearsed) -> dict[str, Any]:
    return {
        "index": test.index,
        "expected": test.expected,
        "fired": test.fired,
        "passed": test.passed,
        "problem": test.problem,
    }


def _id(document: object) -> str:
    return str(document.get("id", "")) if isinstance(document, dict) else ""


def _no_rule(id: str) -> NotFound:
    return NotFound(f"there is no rule {id!r}")


def _outrun() -> Conflict:
    return Conflict("another change of this rule came in between; look at it and try again")
