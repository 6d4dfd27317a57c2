"""`enter`: a track has come into a zone."""

import msgspec

from shared.rules.areas import FOOT
from shared.rules.leaves import Glance, ZoneLeaf
from shared.rules.predicates.port import ClassNames, Fields, area, classes, key
from shared.rules.scene import Scene
from shared.rules.stays import ENTER


class Enter(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True at the sample at which a track has been inside for 0.4 s. Margin: signed distance over sqrt(area)."""

    zone: str
    classes: ClassNames = msgspec.field(name="class", default=None)
    anchor: str = FOOT

    def bind(self, scene: Scene, path: str) -> ZoneLeaf:
        """Ask at the moment of entering."""
        where, who = area(scene, self.zone, self.anchor, path), classes(self.classes, path)
        return ZoneLeaf(
            key=key("enter", who, where.key),
            classes=who,
            zone=self.zone,
            area=where,
            moment="entered",
            window=ENTER,
            gauge=_margin,
        )


def _margin(glance: Glance) -> float:
    return glance.depth() if glance.depth is not None else -1.0
