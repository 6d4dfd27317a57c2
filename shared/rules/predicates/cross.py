"""`cross`: a track has crossed a line."""

import msgspec

from shared.rules.areas import FOOT
from shared.rules.leaves import Glance, LineLeaf
from shared.rules.lines import SETTLE, Direction
from shared.rules.predicates.port import ClassNames, Fields, classes, course, key
from shared.rules.scene import Scene


class Cross(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True at the sample at which a crossing has settled: 0.3 s, or 0.02 of the frame, on the new side.

    Walking from the line's first point to its second, `L2R` goes from the left hand to the right hand, y pointing
    down. Margin: the better of (t - 0.3 s) / 0.3 s and (distance - 0.02) / 0.02.
    """

    line: str
    dir: Direction = "any"
    classes: ClassNames = msgspec.field(name="class", default=None)
    anchor: str = FOOT

    def bind(self, scene: Scene, path: str) -> LineLeaf:
        """Ask at the moment a crossing has settled."""
        where, who = course(scene, self.line, self.anchor, path), classes(self.classes, path)
        return LineLeaf(
            key=key("cross", who, where.key, self.dir),
            classes=who,
            line=self.line,
            course=where,
            direction=self.dir,
            window=SETTLE,
            gauge=_margin,
        )


def _margin(glance: Glance) -> float:
    return glance.crossing.margin if glance.crossing is not None else -1.0
