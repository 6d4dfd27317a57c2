"""Somebody did something, or was refused: one line of the audit trail."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from schemas import topics
from schemas.event import Event, Micros, Topic

Action = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$",
        description="What was done: a noun and a past participle, e.g. `user.added`.",
    ),
]


class AuditRecorded(Event, frozen=True, kw_only=True):
    """Who did what to what, and how it went. No names, no addresses, no secrets: ids alone."""

    type: ClassVar[str] = "audit.recorded"
    topics: ClassVar[tuple[Topic, ...]] = (topics.AUDIT,)

    actor: Annotated[
        str,
        Meta(max_length=64, description="Id of a user or program; `owner`, `system`, `nobody`."),
    ]
    actor_kind: Literal["user", "client", "service", "owner", "system", "nobody"]
    action: Action
    object: Annotated[
        str, Meta(min_length=1, max_length=256, description="Kind and id, e.g. `camera:door`.")
    ]
    outcome: Literal["done", "refused"]
    reason: Annotated[str, Meta(max_length=256, description="Why, or how much of it.")] = ""
    recorded_at: Micros

    @property
    def key(self) -> str:
        return self.object

    @property
    def at(self) -> int:
        return self.recorded_at
