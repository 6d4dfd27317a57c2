"""`leave`: a track has gone out of a zone."""

import msgspec

from shared.rules.areas import FOOT
from shared.rules.leaves import Glance, ZoneLeaf
from shared.rules.predicates.port import ClassNames, Fields, area, classes, key
from shared.rules.scene import Scene
from shared.rules.stays import LEAVE


class Leave(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True at the sample at which a track that was inside has been outside for 1.0 s.

    A track that vanishes inside has not left. Margin: signed distance to the zone over sqrt(area), outside
    being positive.
    """

    zone: str
    classes: ClassNames = msgspec.field(name="class", default=None)
    anchor: str = FOOT

    def bind(self, scene: Scene, path: str) -> ZoneLeaf:
        """Ask at the moment of leaving."""
        where, who = area(scene, self.zone, self.anchor, path), classes(self.classes, path)
        return ZoneLeaf(
            key=key("leave", who, where.key),
            classes=who,
            zone=self.zone,
            area=where,
            moment="left",
            window=LEAVE,
            gauge=_margin,
        )


def _margin(glance: Glance) -> float:
    return -glance.depth() if glance.depth is not None else -1.0
