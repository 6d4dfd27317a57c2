"""What the history's routes take: filters as query parameters, and cursors that only we can make."""

import hashlib
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.incident_changes import Severity, State
from services.vms.store.history import Kind, Place, Question
from shared.errors import Invalid
from shared.security.envelope import SecretBox
from shared.times import parse_time

Filter = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Filters = Annotated[list[Filter], Field(max_length=100)]


class Window(BaseModel):
    """What every question may say: cameras, a time, and how the answer is wanted."""

    model_config = ConfigDict(extra="forbid")

    camera: Filters = []
    since: Annotated[str | None, Field(alias="from", description="RFC 3339, included.")] = None
    until: Annotated[str | None, Field(alias="to", description="RFC 3339, not included.")] = None
    class_: Annotated[Filters, Field(alias="class")] = []
    zone: Filters = []
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str | None, Field(max_length=1024)] = None
    count: bool = False
    format: Annotated[
        Literal["csv", "json"] | None, Field(description="All rows as a file instead of a page.")
    ] = None

    def question(self) -> Question:
        """The filters as a value.

        Raises:
            Invalid: a time cannot be read, or ends before it begins.
        """
        since, until = parse_time("from", self.since), parse_time("to", self.until)
        if since is not None and until is not None and since > until:
            raise Invalid(
                f"from: {self.since} is after to: {self.until}; exchange them", field="from"
            )
        return Question(
            cameras=tuple(self.camera),
            since=since,
            until=until,
            labels=tuple(self.class_),
            zones=tuple(self.zone),
            severities=tuple(getattr(self, "severity", ())),
            rules=tuple(getattr(self, "rule", ())),
            states=tuple(getattr(self, "state", ())),
        )


class AlertWindow(Window):
    """Questions about alerts."""

    severity: Annotated[list[Severity], Field(max_length=5)] = []
    rule: Filters = []


class IncidentWindow(AlertWindow):
    """Questions about incidents."""

    state: Annotated[list[State], Field(max_length=9)] = []


class Cursors:
    """Cursors are sealed places: they hold for one question, and one that is not ours is refused."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def seal(self, kind: Kind, question: Question, place: Place | None) -> str | None:
        """A cursor to go on from `place`; None at the end."""
        if place is None:
            return None
        text = msgspec.json.encode(place).decode()
        return self._box.seal(text, bound_to=_bound(kind, question))

    def open(self, kind: Kind, question: Question, cursor: str | None) -> Place | None:
        """The place of a cursor.

        Raises:
            Invalid: it was not made by us for this question.
        """
        if cursor is None:
            return None
        try:
            text = self._box.open(cursor, bound_to=_bound(kind, question))
            return msgspec.json.decode(text, type=Place)
        except (Invalid, msgspec.DecodeError):
            raise Invalid(
                "cursor: it is none of ours for this question; send the same filters with the `next` "
                "of the answer before",
                field="cursor",
            ) from None


def _bound(kind: Kind, question: Question) -> str:
    digest = hashlib.sha256(msgspec.json.encode(question)).hexdigest()
    return f"vms.cursor.{kind.name}.{digest}"
