"""Facts off the log become rows. Each handler's effect is keyed by the fact itself, so that a replay changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.events.alert_raised import AlertRaised
from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.detections_made import DetectionsMade
from schemas.events.incident_changes import IncidentExtended, IncidentMoved, IncidentOpened
from schemas.events.tracks_observed import TracksObserved
from services.vms.places import Places
from services.vms.store import facts

if TYPE_CHECKING:
    from schemas.event import Box
    from schemas.events.tracks_observed import TrackPath
    from shared.bus.port import Batch
    from shared.clock import Clock
    from shared.db.engine import Database, Transaction

Row = dict[str, Any]


class DetectionHandler:
    """A row for every detected object, in one statement a batch."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._places = Places()

    async def __call__(self, batch: Batch) -> None:
        """Store a batch."""
        looks = [
            envelope.event
            for envelope in batch.envelopes
            if isinstance(envelope.event, DetectionsMade) and envelope.event.detections
        ]
        if not looks:
            return
        async with self._database.transaction() as tx:
            await self._places.follow(tx, {look.camera for look in looks})
            now = self._clock.now()
            await facts.add_detections(tx, [row for look in looks for row in self._rows(look, now)])

    def _rows(self, look: DetectionsMade, now: int) -> list[Row]:
        size = look.width, look.height
        return [
            {
                "camera": look.camera,
                "epoch": look.epoch,
                "seq": look.seq,
                "ordinal": ordinal,
                "at": look.captured_at,
                "label": found.label,
                "score": found.score,
                **_sides(found.box),
                "width": look.width,
                "height": look.height,
                "zones": _names(self._places.zones(look.camera, found.box, size)),
                "model": look.model,
                "simulated": look.simulated,
                "stored_at": now,
            }
            for ordinal, found in enumerate(look.detections)
        ]


class TrackHandler:
    """A row for every track, brought on second by second, and its points."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._places = Places()

    async def __call__(self, batch: Batch) -> None:
        """Store a batch."""
        seconds = [
            envelope.event
            for envelope in batch.envelopes
            if isinstance(envelope.event, TracksObserved) and envelope.event.paths
        ]
        if not seconds:
            return
        async with self._database.transaction() as tx:
            await self._store(tx, seconds)

    async def _store(self, tx: Transaction, seconds: list[TracksObserved]) -> None:
        await self._places.follow(tx, {second.camera for second in seconds})
        paths = [(second, path) for second in seconds for path in second.paths if path.points]
        seen = await facts.zones_of_tracks(tx, {path.track for _, path in paths})
        now = self._clock.now()
        tracks: list[Row] = []
        for second, path in paths:
            zones = seen.setdefault(path.track, set())
            zones |= self._zones(second, path)
            tracks.append(_track(second, path, zones, now))
        points = [_second(second, path, now) for second, path in paths]
        await facts.add_tracks(tx, tracks, points)

    def _zones(self, second: TracksObserved, path: TrackPath) -> set[str]:
        size = second.width, second.height
        return {
            zone
            for point in path.points
            for zone in self._places.zones(second.camera, point.box, size)
        }


class IncidentHandler:
    """Incidents and their transitions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, batch: Batch) -> None:
        """Store a batch."""
        events = [envelope.event for envelope in batch.envelopes]
        opened = [event for event in events if isinstance(event, IncidentOpened)]
        moved = [event for event in events if isinstance(event, IncidentMoved)]
        touched = {event.incident for event in opened} | {event.incident for event in moved}
        async with self._database.transaction() as tx:
            now = self._clock.now()
            await facts.open_incidents(tx, opened, now=now)
            for event in events:
                if isinstance(event, IncidentExtended):
                    await facts.extend_incident(tx, event)
            await facts.move_incidents(tx, moved, now=now)
            await facts.settle_states(tx, touched)


class AlertHandler:
    """Alerts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, batch: Batch) -> None:
        """Store a batch."""
        alerts = [one.event for one in batch.envelopes if isinstance(one.event, AlertRaised)]
        async with self._database.transaction() as tx:
            await facts.add_alerts(tx, alerts, now=self._clock.now())


class StatusHandler:
    """The present state of each camera."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, batch: Batch) -> None:
        """Store the newest of a batch, camera by camera."""
        statuses = [
            one.event for one in batch.envelopes if isinstance(one.event, CameraStatusChanged)
        ]
        async with self._database.transaction() as tx:
            await facts.set_statuses(tx, statuses)


def _track(second: TracksObserved, path: TrackPath, zones: set[str], now: int) -> Row:
    return {
        "track": path.track,
        "camera": second.camera,
        "epoch": second.epoch,
        "label": path.label,
        "at": path.points[0].at,
        "last_at": path.points[-1].at,
        "born_at": path.born_at,
        "width": second.width,
        "height": second.height,
        "zones": _names(sorted(zones)),
        "simulated": second.simulated,
        "stored_at": now,
    }


def _second(second: TracksObserved, path: TrackPath, now: int) -> Row:
    return {
        "track": path.track,
        "second_at": second.second_at,
        "points": [[point.at, *point.box, point.score] for point in path.points],
        "stored_at": now,
    }


def _sides(box: Box) -> Row:
    left, top, width, height = box
    return {"box_left": left, "box_top": top, "box_width": width, "box_height": height}


def _names(zones: list[str]) -> str:
    return msgspec.json.encode(zones).decode()
