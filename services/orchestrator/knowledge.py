"""What the stage knows beside the detections: cameras with their places, and rules, each by event time. Pure."""

from collections.abc import Collection

from schemas.events.camera_configured import CameraConfigured
from schemas.events.rule_defined import RuleDefined
from shared.rules.document import Rule, load
from shared.rules.errors import Problem, RuleError
from shared.rules.scene import Scene
from shared.rules.timeline import History, Timeline

IDLE_STATUSES = frozenset({"draft", "deprecated"})


class Knowledge:
    """Versions of cameras and rules. The same version may be told again; it counts once.

    `broken` names rules whose present document this version of Vantage cannot read.
    """

    def __init__(self) -> None:
        self.cameras: History[CameraConfigured] = History()
        self.scenes: History[Scene] = History()
        self.rules: History[Rule] = History()
        self.broken: dict[str, tuple[Problem, ...]] = {}
        self._told: set[tuple[str, str, int]] = set()

    def configure(self, camera: CameraConfigured) -> None:
        """A camera's document counts from its `effective_at` on."""
        if self._is_new("camera", camera.camera, camera.document_version):
            self.cameras.put(camera.camera, camera.effective_at, camera)
            self.scenes.put(camera.camera, camera.effective_at, scene(camera))

    def define(self, defined: RuleDefined) -> None:
        """A rule's document counts from its `effective_at` on; drafts and deprecated ones are not evaluated."""
        if not self._is_new("rule", defined.rule, defined.revision):
            return
        self.broken.pop(defined.rule, None)
        try:
            rule: Rule | None = load(defined.document)
        except RuleError as error:
            rule, self.broken[defined.rule] = None, error.problems
        idle = rule is None or rule.head.status in IDLE_STATUSES
        self.rules.put(defined.rule, defined.effective_at, None if idle else rule)

    def remove(self, rule: str, revision: int, at: int) -> None:
        """A rule ends at `at`; its removal is a revision too."""
        if self._is_new("rule", rule, revision):
            self.broken.pop(rule, None)
            self.rules.put(rule, at, None)

    def camera(self, camera: str, at: int) -> CameraConfigured | None:
        """The camera's document in force at `at`, or its first one where `at` is before all."""
        return self.cameras.as_of(at).get(camera) or self.cameras.first(camera)

    def timeline(self, camera: str) -> Timeline:
        """A camera's places and rules over event time."""
        return Timeline(camera, self.scenes, self.rules)

    def only(self, rules: Collection[str]) -> "Knowledge":
        """The same cameras, and of the rules these alone."""
        fewer = Knowledge()
        fewer.cameras, fewer.scenes, fewer.rules = self.cameras, self.scenes, self.rules.only(rules)
        return fewer

    def _is_new(self, kind: str, key: str, version: int) -> bool:
        place = (kind, key, version)
        if place in self._told:
            return False
        self._told.add(place)
        return True


def scene(camera: CameraConfigured) -> Scene:
    """The places that a camera's rules can name."""
    return Scene(
        camera=camera.camera,
        site=camera.site,
        time_zone=camera.time_zone,
        version=camera.document_version,
        zones={zone.name: zone.points for zone in camera.zones},
        lines={line.name: (line.a, line.b) for line in camera.lines},
    )
