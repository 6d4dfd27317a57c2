"""`schedule`: the wall clock of a place says so."""

from typing import Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from shared.rules.errors import refuse, unknown_remedy
from shared.rules.leaves import BOOLEAN, FrameLeaf, Glance
from shared.rules.predicates.port import key
from shared.rules.reading import struct_schema
from shared.rules.scene import Scene
from shared.rules.schedules import Schedule


class OnSchedule(msgspec.Struct, frozen=True):
    """True while event time lies within a schedule, written in place or named in `defs.schedules`. Margin: ±1."""

    about: ClassVar[Literal["track", "frame"]] = "frame"

    schedule: Schedule | None
    name: str = ""

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """From the name of a schedule, or its fields."""
        if isinstance(raw, str):
            return cls(None, raw)
        return cls(Schedule.parse(raw, path))

    def bind(self, scene: Scene, path: str) -> FrameLeaf:
        """Ask once a frame; the answer is worked out once a minute."""
        schedule = self.schedule or scene.schedules.get(self.name)
        if schedule is None:
            raise refuse(
                path,
                self.name,
                "there is no such schedule",
                unknown_remedy(self.name, sorted(scene.schedules)) or "define it in defs.schedules",
            )
        zone = _zone(schedule, scene, path)
        return FrameLeaf(
            key=key("schedule", zone.key, msgspec.json.encode(schedule).decode()),
            window=0,
            step=lambda _memory, view: schedule.holds(view.at, zone),
            by_minute=True,
            gauge=_margin,
        )

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A name, or a schedule's fields."""
        return {"anyOf": [{"type": "string"}, struct_schema(Schedule)]}


def _margin(glance: Glance) -> float:
    return BOOLEAN if glance.holds else -BOOLEAN


def _zone(schedule: Schedule, scene: Scene, path: str) -> ZoneInfo:
    try:
        return schedule.zone(scene.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise refuse(
            path,
            scene.time_zone,
            "the site has no known time zone",
            "set an IANA name, e.g. Europe/Berlin",
        ) from error
