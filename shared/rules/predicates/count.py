"""`count`: so many distinct tracks are in a zone, or on the camera."""

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shared.rules.areas import FOOT
from shared.rules.durations import Duration
from shared.rules.leaves import Classes, FrameLeaf, Glance, View
from shared.rules.predicates.port import ClassNames, Fields, area, classes, key
from shared.rules.scene import Scene
from shared.rules.stays import ENTER

Operator = Literal[">=", ">", "<=", "<", "==", "!="]

SPARE: dict[Operator, Callable[[int, int], int]] = {
    ">=": lambda found, n: found - n,
    ">": lambda found, n: found - n - 1,
    "<=": lambda found, n: n - found,
    "<": lambda found, n: n - found - 1,
    "==": lambda found, n: -abs(found - n),
    "!=": lambda found, n: abs(found - n) - 1,
}
"""By how much a number passes a comparison; below 0 it does not."""


class Count(Fields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """True while the number of distinct tracks compares as asked, and has for as long as `for` says.

    Tracks in a zone are those that have entered and not left (hysteresis), unseen ones up to the gap included;
    without a zone those on the camera. Margin: (n - N) / max(N, 1), or how much of `for` is missing.
    """

    about: ClassVar[Literal["track", "frame"]] = "frame"

    op: Operator
    n: Annotated[int, Meta(ge=0, le=10_000)]
    zone: str | None = None
    classes: ClassNames = msgspec.field(name="class", default=None)
    lasting: Duration = msgspec.field(name="for", default_factory=Duration)
    anchor: str = FOOT

    def bind(self, scene: Scene, path: str) -> FrameLeaf:
        """Ask once a frame."""
        where = None if self.zone is None else area(scene, self.zone, self.anchor, path)
        who, lasting = classes(self.classes, path), self.lasting
        spare = self._spare(who)

        def step(memory: list[float], view: View) -> bool:
            if spare(view.present(where)) < 0:
                memory.clear()
                return False
            if not memory:
                memory.append(view.at)
            return view.at - memory[0] >= lasting

        def margin(glance: Glance) -> float:
            short = spare(glance.view.present(where))
            if short < 0 or glance.holds or not lasting:
                return short / max(self.n, 1)
            since = glance.memory[0] if glance.memory else glance.at
            return (glance.at - since - lasting) / lasting

        return FrameLeaf(
            key=key("count", who, where.key if where else "", self.op, self.n, lasting),
            classes=who,
            zone=self.zone or "",
            area=where,
            window=max(lasting, ENTER),
            step=step,
            gauge=margin,
            counts=True,
        )

    def _spare(self, who: Classes) -> Callable[[Mapping[str, int]], int]:
        compare, n = SPARE[self.op], self.n
        names = None if who is None else tuple(sorted(who))

        def spare(present: Mapping[str, int]) -> int:
            if names is None:
                return compare(sum(present.values()), n)
            return compare(sum(present.get(name, 0) for name in names), n)

        return spare
