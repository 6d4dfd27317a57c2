"""Whether a track is there: in a zone with hysteresis, or on the camera. The part of a count over cameras."""

from typing import Any, ClassVar, Literal, Self

import msgspec

from shared.rules.areas import FOOT
from shared.rules.leaves import BOOLEAN, AgeLeaf, Glance, Leaf, ZoneLeaf
from shared.rules.predicates.port import ClassNames, area, classes, key
from shared.rules.reading import read, struct_schema
from shared.rules.scene import Scene
from shared.rules.stays import ENTER


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """True from the sample that confirms entering until the track has left or is gone. Margin: ±1.

    Not a word of the language: `count` with `across: cameras` asks it on each camera.
    """

    about: ClassVar[Literal["track", "frame"]] = "track"

    zone: str | None = None
    classes: ClassNames = None
    anchor: str = FOOT

    @classmethod
    def parse(cls, raw: object, path: str) -> Self:
        """From its fields."""
        return read(cls, raw, path)

    def bind(self, scene: Scene, path: str) -> Leaf:
        """Ask the stay, or the track's life where no zone is named."""
        who = classes(self.classes, path)
        if self.zone is None:
            return AgeLeaf(
                key=key("present", who), classes=who, after=0, window=ENTER, gauge=_margin
            )
        where = area(scene, self.zone, self.anchor, path)
        return ZoneLeaf(
            key=key("present", who, where.key),
            classes=who,
            zone=self.zone,
            area=where,
            moment="stayed",
            after=ENTER,
            window=ENTER,
            gauge=_margin,
        )

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Its fields."""
        return struct_schema(cls)


def _margin(glance: Glance) -> float:
    return BOOLEAN if glance.holds else -BOOLEAN
