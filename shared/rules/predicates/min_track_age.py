"""`min_track_age`: a track has been known for so long."""

from typing import Any, ClassVar, Literal, Self

import msgspec

from shared.rules.durations import PATTERN, Duration
from shared.rules.errors import refuse
from shared.rules.leaves import AgeLeaf
from shared.rules.predicates.port import key
from shared.rules.reading import duration
from shared.rules.scene import Scene


class MinTrackAge(msgspec.Struct, frozen=True):
    """True from `after` microseconds since a track's first sample on. Margin: (age - min) / min."""

    about: ClassVar[Literal["track", "frame"]] = "track"

    after: Duration

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """From a duration."""
        after = duration(raw, path)
        if after <= 0:
            raise refuse(path, raw, "no age at all", "write at least 1s, or leave it out")
        return cls(after)

    def bind(self, scene: Scene, path: str) -> AgeLeaf:
        """Ask the track's age."""
        after = self.after
        return AgeLeaf(
            key=key("min_track_age", after),
            after=after,
            window=0,
            gauge=lambda glance: (glance.at - glance.born_at - after) / after,
        )

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """A duration."""
        return {"type": "string", "pattern": PATTERN}
