"""Alerts become delivery rows; incidents tell late deliveries their state; cameras give their present name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from schemas.events.alert_raised import AlertRaised
from schemas.events.camera_configured import CameraConfigured
from schemas.events.incident_changes import IncidentMoved
from services.notifier.domain import delivery_id, wants
from services.notifier.store import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.notifier.store import Store
    from shared.bus.port import Batch
    from shared.clock import Clock
    from shared.db.engine import Database

log = structlog.get_logger(component="notifier")

GROUP = "notifier"


class AlertHandler:
    """One row for every alert and subscription that wants it, in one transaction a batch."""

    def __init__(
        self, database: Database, store: Store, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._wake = wake

    async def __call__(self, batch: Batch) -> None:
        """Insert the rows of a batch; a batch that comes again finds its rows standing."""
        kinds = {channel.id: channel.kind for channel in await self._store.channels()}
        listeners = [one for one in await self._store.subscriptions() if one.channel in kinds]
        wanted = [
            Wanted(
                envelope.event,
                listener,
                kinds[listener.channel],
                (envelope.traceparent or "")[:64],
                (envelope.correlation or envelope.id)[:128],
            )
            for envelope in batch.envelopes
            if isinstance(envelope.event, AlertRaised)
            for listener in listeners
            if wants(listener, envelope.event)
        ]
        async with self._database.transaction() as tx:
            await self._store.add_deliveries(tx, wanted, self._clock.now())
            tx.after_commit(self._wake)
        for one in wanted:
            log.info(
                "alert_taken",
                alert=one.alert.alert,
                delivery=delivery_id(one.alert.alert, one.listener.id),
                correlation=one.correlation,
            )


class IncidentHandler:
    """Remembers the state of incidents that were notified."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def __call__(self, batch: Batch) -> None:
        """Keep the last state of each incident in the batch."""
        last = {
            envelope.event.incident: envelope.event.target
            for envelope in batch.envelopes
            if isinstance(envelope.event, IncidentMoved)
        }
        if not last:
            return
        async with self._database.transaction() as tx:
            for incident, state in last.items():
                await self._store.incident_moved(tx, incident, state)


class CameraNames:
    """The present name of every camera; a table subscription keeps it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __contains__(self, camera: str) -> bool:
        return camera in self._names

    def name(self, camera: str, fallback: str) -> str:
        """The camera's name, or `fallback` when it was removed."""
        return self._names.get(camera, fallback)

    async def __call__(self, batch: Batch) -> None:
        """Follow the documents of the topic `cameras`."""
        for envelope in batch.envelopes:
            if isinstance(envelope.event, CameraConfigured):
                self._names[envelope.key] = envelope.event.name
            else:
                self._names.pop(envelope.key, None)
