"""Versions by event time: which rules and which places are in force at a moment."""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

from shared.rules.document import Rule
from shared.rules.scene import Scene

T = TypeVar("T")


class History(Generic[T]):
    """Values by key and the event time from which each counts; None ends a key.

    `revision` grows at every change, so that a reader sees that it must look again.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._versions: dict[str, list[tuple[int, T | None]]] = {}

    def put(self, key: str, effective_at: int, value: T | None) -> None:
        """From `effective_at` on, `value` counts; of two with the same time the later put wins."""
        versions = self._versions.setdefault(key, [])
        times = [time for time, _ in versions]
        versions.insert(bisect_right(times, effective_at), (effective_at, value))
        self.revision += 1

    def as_of(self, at: int) -> dict[str, T]:
        """What counts at `at`, by key."""
        found = {}
        for key, versions in self._versions.items():
            value = _last(versions, at)
            if value is not None:
                found[key] = value
        return found

    def known(self, at: int) -> dict[str, T]:
        """What counts at `at`; a key's first version counts from the beginning of time."""
        upcoming = {key: vs[0][1] for key, vs in self._versions.items() if vs[0][0] > at}
        return {k: v for k, v in upcoming.items() if v is not None} | self.as_of(at)

    def first(self, key: str) -> T | None:
        """The earliest version of a key."""
        versions = self._versions.get(key)
        return versions[0][1] if versions else None

    @property
    def names(self) -> list[str]:
        """All keys that ever had a version."""
        return list(self._versions)

    def versions(self, key: str) -> list[T]:
        """All versions of a key, in the order of their times."""
        return [value for _, value in self._versions.get(key, ()) if value is not None]

    def only(self, keys: Collection[str]) -> "History[T]":
        """The versions of these keys alone."""
        fewer: History[T] = History()
        for key in keys:
            for time, value in self._versions.get(key, ()):
                fewer.put(key, time, value)
        return fewer

    def next_after(self, at: int) -> int | None:
        """The first time after `at` from which something else counts."""
        return min((time for time in self._times() if time > at), default=None)

    def _times(self) -> Iterator[int]:
        for versions in self._versions.values():
            for time, _ in versions:
                yield time


class Timeline:
    """The rules and places of one camera over event time.

    A camera's first places count from the beginning of time: no frame is older than its camera.
    """

    def __init__(self, camera: str, scenes: History[Scene], rules: History[Rule]) -> None:
        self.camera = camera
        self._scenes = scenes
        self._rules = rules
        self._seen = (-1, -1)
        self._next: int | None = None

    def due(self, at: int) -> bool:
        """Say whether something else may count at `at` than was last taken."""
        if self._seen != (self._scenes.revision, self._rules.revision):
            return True
        return self._next is not None and at >= self._next

    def take(self, at: int) -> tuple[Scene, list[Rule]]:
        """Places and rules in force at `at`."""
        self._seen = (self._scenes.revision, self._rules.revision)
        upcoming = [
            time
            for time in (self._scenes.next_after(at), self._rules.next_after(at))
            if time is not None
        ]
        self._next = min(upcoming, default=None)
        scene = self._scenes.as_of(at).get(self.camera) or self._scenes.first(self.camera)
        rules = [rule for rule in self._rules.as_of(at).values() if rule.covers(self.camera)]
        return scene or Scene(camera=self.camera), rules


def fixed(scene: Scene, rules: list[Rule]) -> Timeline:
    """A timeline in which nothing ever changes."""
    scenes: History[Scene] = History()
    scenes.put(scene.camera, 0, scene)
    history: History[Rule] = History()
    for rule in rules:
        history.put(rule.id, -(1 << 62), rule)
    return Timeline(scene.camera, scenes, history)


def _last(versions: list[tuple[int, T | None]], at: int) -> T | None:
    found = None
    for time, value in versions:
        if time > at:
            break
        found = value
    return found
