"""The consumers of a process in an operator's hand: what they do, going on after a stop, going back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from shared.audit import Audit
from shared.bus.port import CommitRefused
from shared.bus.rewind import Move, check_rewind, rewind, targets
from shared.errors import Conflict, NotFound
from shared.security.doors import require
from shared.times import parse_time

if TYPE_CHECKING:
    from shared.platform import ServicePlatform
    from shared.runtime.consumers import Consumer

OLDEST = "oldest"


class RewindBody(BaseModel):
    """Where to go back to: `oldest`, an offset, or a time in RFC 3339."""

    model_config = ConfigDict(extra="forbid")

    topic: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    since: Annotated[str, Field(alias="from", min_length=1, max_length=64)] = OLDEST
    dry_run: bool = False

    def start(self) -> tuple[int, int | None]:
        """An offset, and the time that goes before it.

        Raises:
            Invalid: it is none of the three.
        """
        if self.since == OLDEST:
            return 0, None
        if self.since.isdecimal() and len(self.since) <= 18:
            return int(self.since), None
        return 0, parse_time("from", self.since)


class Hands:
    """What an operator may do to the consumers of this process; both mappings are filled while services start."""

    def __init__(
        self, consumers: Mapping[str, "Consumer"], views: Mapping[str, "ServicePlatform"]
    ) -> None:
        self._consumers = consumers
        self._views = views

    async def all(self) -> list[dict[str, Any]]:
        """What each consumer does now."""
        return [await consumer.shown() for consumer in self._consumers.values()]

    async def resume(self, name: str) -> dict[str, Any]:
        """Go on with a fresh engine from what is committed.

        Raises:
            NotFound: there is no such consumer here.
            Conflict: another call has it in its hand.
        """
        consumer = self._found(name)
        why = (await consumer.check()).reason
        async with consumer.held():
            await self._say(name, "consumer.resumed", why)
        return await consumer.shown()

    async def rewind(self, name: str, body: RewindBody) -> dict[str, Any]:
        """Read again from an earlier place.

        Raises:
            NotFound: there is no such consumer here.
            Invalid: going back would do harm, or the place is none.
            Conflict: another call has it in its hand, or its partitions moved meanwhile.
        """
        consumer, view = self._found(name), self._views[name]
        topics = check_rewind(consumer.subscription, body.topic)
        offset, at = body.start()
        to = await targets(view.log, topics, offset=offset, at=at)
        try:
            async with consumer.held():
                moves = await rewind(
                    view.log, consumer.subscription, member=view.instance, to=to, dry=body.dry_run
                )
        except CommitRefused:
            raise Conflict(
                f"the partitions of {name} moved to another process meanwhile; ask again"
            ) from None
        again = sum(move.before - move.after for move in moves)
        if moves and not body.dry_run:
            await self._say(name, "consumer.rewound", f"from {body.since}, {again} offsets")
        return {"name": name, "again": again, "partitions": [_told(move) for move in moves]}

    def _found(self, name: str) -> "Consumer":
        if name not in self._consumers:
            raise NotFound(
                f"there is no consumer {name!r} here; `vantage consumers list` names all"
            )
        return self._consumers[name]

    async def _say(self, name: str, deed: str, reason: str) -> None:
        view = self._views[name]
        entry = Audit(view.publisher, view.clock).entry(deed, f"consumer:{name}", reason=reason)
        await view.publisher.publish([entry])


def consumer_routes(hands: Hands) -> APIRouter:
    """Routes of the consumers."""
    router = APIRouter(prefix="/consumers")

    @router.get("", dependencies=[Depends(require("log:read"))])
    async def list_consumers() -> dict[str, Any]:
        """What each consumer of this process reads, how far behind it is, and whether it stands."""
        return {"items": await hands.all()}

    @router.post("/{name}/resume", dependencies=[Depends(require("log:replay"))])
    async def resume(name: str) -> dict[str, Any]:
        """Go on with a fresh engine: after too many dead letters, or when it hangs."""
        return await hands.resume(name)

    @router.post("/{name}/rewind", dependencies=[Depends(require("log:replay"))])
    async def go_back(name: str, body: RewindBody) -> dict[str, Any]:
        """Read again from an earlier place, same ids; what was applied stays applied once."""
        return await hands.rewind(name, body)

    return router


def _told(move: Move) -> dict[str, Any]:
    partition, before, after = move
    return {
        "topic": partition.topic, "partition": partition.number, "from": after, "to": before,
    }  # fmt: skip
