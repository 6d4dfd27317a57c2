"""A rule over several cameras and the cameras of its site, by event time."""

from shared.rules.document import Rule
from shared.rules.scene import Scene
from shared.rules.timeline import History


class SiteTimeline:
    """One rule, and the places of the cameras of one site.

    A camera's first places count from the beginning of time, as they do for the camera itself.
    """

    def __init__(self, site: str, rule: str, scenes: History[Scene], rules: History[Rule]) -> None:
        self._site = site
        self._rule = rule
        self._scenes = scenes
        self._rules = rules
        self._seen = (-1, -1)
        self._taken_at = -(1 << 62)
        self._next_at: int | None = None

    def due(self, at: int) -> int | None:
        """From when on something else may count than was last taken, where that is not after `at`."""
        if self._seen != (self._scenes.revision, self._rules.revision):
            return self._taken_at
        return self._next_at if self._next_at is not None and self._next_at <= at else None

    def take(self, at: int) -> tuple[Rule | None, dict[str, Scene]]:
        """The rule, where it is one over several cameras, and the cameras of the site, in force at `at`."""
        self._seen = (self._scenes.revision, self._rules.revision)
        self._taken_at = at
        times = (self._scenes.next_after(at), self._rules.next_after(at))
        self._next_at = min((time for time in times if time is not None), default=None)
        rule = self._rules.as_of(at).get(self._rule)
        scenes = {
            name: scene
            for name, scene in self._scenes.known(at).items()
            if scene.site == self._site
        }
        return (rule if rule is not None and rule.parts else None), scenes

    @property
    def upcoming(self) -> bool:
        """Something else will count, or may already."""
        seen = self._seen == (self._scenes.revision, self._rules.revision)
        return not seen or self._next_at is not None
