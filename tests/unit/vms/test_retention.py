"""Retention: by age of arrival and by number, oldest first, decisions longer than sightings."""

from services.vms.handlers import AlertHandler, DetectionHandler, IncidentHandler, TrackHandler
from services.vms.retention import Retention
from services.vms.settings import VmsSettings
from services.vms.store import retention as sql
from shared.clock import ManualClock
from tests.unit.vms.conftest import ON_BOTH, Rig
from tests.unit.vms.happenings import alert, look, moved, opened, second

pytestmark = ON_BOTH

DAY_S = 86_400


async def hear_a_day(rig: Rig, number: int) -> None:
    track = f"door-{number}-1"
    await rig.hear(DetectionHandler(rig.database, rig.clock), look(number, ("person", 1, 1)))
    await rig.hear(TrackHandler(rig.database, rig.clock), second(number, (track, "person", 1, 1)))
    await rig.hear(AlertHandler(rig.database, rig.clock), alert(f"a{number}", number))
    await rig.hear(
        IncidentHandler(rig.database, rig.clock),
        opened(f"i{number}", number),
        moved(f"i{number}", 1, None, "OPEN"),
    )


async def counts(rig: Rig) -> dict[str, int]:
    kinds = ("detections", "tracks", "incidents", "alerts")
    return {kind: (await rig.page(kind, count=True))["count"] for kind in kinds}


async def test_what_is_old_goes_and_decisions_stay_longer(rig: Rig, clock: ManualClock) -> None:
    settings = VmsSettings(keep_detections_days=2, keep_tracks_days=4, keep_incidents_days=8)
    retention = Retention(rig.database, clock, settings)
    for number in range(10):
        await hear_a_day(rig, number)
        clock.advance(DAY_S)
    await retention.look()
    assert await counts(rig) == {"detections": 2, "tracks": 4, "incidents": 8, "alerts": 8}
    newest = await rig.items("detections", limit=1)
    assert newest[0]["seq"] == 9
    assert (await rig.api.get("/api/v1/incidents/i1")).status_code == 404
    kept = (await rig.api.get("/api/v1/incidents/i9")).json()
    assert len(kept["transitions"]) == 1
    assert not any((await retention.look()).values())


async def test_a_cameras_clock_decides_nothing(rig: Rig, clock: ManualClock) -> None:
    """A recording of 1970 that was stored today is as young as today."""
    old = look(1, ("person", 1, 1))
    await rig.hear(DetectionHandler(rig.database, clock), old)
    await Retention(rig.database, clock, VmsSettings(keep_detections_days=1)).look()
    assert (await counts(rig))["detections"] == 1


async def test_what_is_too_much_goes_oldest_first(rig: Rig, clock: ManualClock) -> None:
    handler = DetectionHandler(rig.database, clock)
    await rig.hear(handler, *(look(seq, ("person", 1, 1)) for seq in range(3000)))
    settings = VmsSettings(max_detections=1000)
    gone = await Retention(rig.database, clock, settings).look()
    assert gone["detections"] == 2000
    items = await rig.items("detections", limit=500)
    assert (await counts(rig))["detections"] == 1000
    assert items[0]["seq"] == 2999


async def test_many_go_in_batches(rig: Rig, clock: ManualClock) -> None:
    handler = DetectionHandler(rig.database, clock)
    for start in range(0, sql.BATCH + 1000, 1000):
        await rig.hear(
            handler, *(look(seq, ("person", 1, 1)) for seq in range(start, start + 1000))
        )
    clock.advance(8 * DAY_S)
    gone = await Retention(rig.database, clock, VmsSettings()).look()
    assert gone["detections"] == sql.BATCH + 1000
    assert (await counts(rig))["detections"] == 0
