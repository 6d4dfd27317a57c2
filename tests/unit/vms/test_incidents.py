"""Incidents over HTTP: their transitions, their snapshots, their alerts; and how the cameras are."""

from typing import Any

import pytest

from services.vms.handlers import AlertHandler, IncidentHandler, StatusHandler
from shared.blobs.files import FileBlobs
from shared.clock import ManualClock
from tests.unit.vms.conftest import ON_BOTH, Rig
from tests.unit.vms.happenings import alert, extended, moved, opened, state

pytestmark = ON_BOTH


class TestIncidents:
    async def test_one_with_its_transitions(self, rig: Rig) -> None:
        await rig.hear(
            IncidentHandler(rig.database, rig.clock),
            opened("i1"),
            moved("i1", 1, None, "CANDIDATE"),
            moved("i1", 2, "CANDIDATE", "PROVISIONAL"),
            moved("i1", 3, "PROVISIONAL", "OPEN", reason="no_verifier"),
            extended("i1", 2, 30),
            moved("i1", 4, "OPEN", "ACKED", actor="user-1", outcome="tp"),
        )
        found = (await rig.api.get("/api/v1/incidents/i1")).json()
        assert (found["state"], found["outcome"], found["count"]) == ("ACKED", "tp", 2)
        assert found["tracks"] == ["door-1-1", "door-1-2"]
        assert found["last_matched_at"] == "2026-01-01T12:00:30Z"
        assert found["cause"]["rule_version"] == "1.0.0"
        assert [(one["seq"], one["target"]) for one in found["transitions"]] == [
            (1, "CANDIDATE"),
            (2, "PROVISIONAL"),
            (3, "OPEN"),
            (4, "ACKED"),
        ]
        assert found["transitions"][2]["reason"] == "no_verifier"

    async def test_a_replay_changes_nothing(self, rig: Rig) -> None:
        handler = IncidentHandler(rig.database, rig.clock)
        events = [
            opened("i1"),
            moved("i1", 1, None, "OPEN"),
            extended("i1", 2, 30),
            extended("i1", 3, 40),
            moved("i1", 2, "OPEN", "CLOSED", outcome="fp"),
        ]
        await rig.hear(handler, *events)
        before = (await rig.api.get("/api/v1/incidents/i1")).json()
        for event in events:
            await rig.hear(handler, event)
        assert (await rig.api.get("/api/v1/incidents/i1")).json() == before
        assert (before["state"], before["count"]) == ("CLOSED", 3)

    async def test_transitions_before_the_opening_are_not_lost(self, rig: Rig) -> None:
        handler = IncidentHandler(rig.database, rig.clock)
        await rig.hear(handler, moved("i1", 1, None, "OPEN"))
        assert (await rig.api.get("/api/v1/incidents/i1")).status_code == 404
        await rig.hear(handler, opened("i1"))
        assert (await rig.api.get("/api/v1/incidents/i1")).json()["state"] == "OPEN"

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, "i4 i3 i2 i1"),
            ({"severity": "critical"}, "i2"),
            ({"severity": ["high", "critical"]}, "i4 i2 i1"),
            ({"zone": "gate"}, "i3"),
            ({"class": "car"}, "i3"),
            ({"camera": "yard"}, "i4"),
            ({"state": "OPEN"}, "i1"),
            ({"rule": "enter-yard", "from": "2026-01-01T12:00:03Z"}, "i4 i3"),
        ],
    )
    async def test_filters(self, rig: Rig, query: dict[str, Any], found: str) -> None:
        await rig.hear(
            IncidentHandler(rig.database, rig.clock),
            opened("i1", 1),
            opened("i2", 2, severity="critical"),
            opened("i3", 3, zone="gate", label="car", severity="low"),
            opened("i4", 4, camera="yard"),
            moved("i1", 1, None, "OPEN"),
        )
        page = await rig.page("incidents", count=True, **query)
        assert " ".join(item["incident"] for item in page["items"]) == found
        assert page["count"] == len(found.split())

    async def test_bad_ids_and_filters(self, rig: Rig) -> None:
        for id in ("nobody", "00000000-0000-0000-0000-000000000000", "' OR 1=1--"):
            assert (await rig.api.get(f"/api/v1/incidents/{id}")).status_code == 404
        # PostgreSQL knows no NUL, so that nobody can even ask for it there.
        assert (await rig.api.get("/api/v1/incidents/%00")).status_code in (404, 422)
        assert (await rig.api.get(f"/api/v1/incidents/{'x' * 65}")).status_code == 422
        for query in ({"severity": "fatal"}, {"state": "open"}, {"outcome": "tp"}):
            answer = await rig.api.get("/api/v1/incidents", params=query)
            assert answer.status_code == 422


class TestSnapshots:
    async def test_it_is_shown_once_it_is_there(self, rig: Rig, clock: ManualClock) -> None:
        await rig.hear(IncidentHandler(rig.database, clock), opened("i1"))
        coming = await rig.api.get("/api/v1/incidents/i1/snapshot")
        assert coming.status_code == 404
        assert (coming.json()["snapshot"], coming.headers["retry-after"]) == ("coming", "1")
        blobs = FileBlobs(rig.data_dir / "blobs")
        await blobs.put("incidents/i1/first.jpg", b"\xff\xd8picture", "image/jpeg")
        there = await rig.api.get("/api/v1/incidents/i1/snapshot")
        assert (there.status_code, there.content) == (200, b"\xff\xd8picture")
        assert there.headers["content-type"] == "image/jpeg"
        assert "private" in there.headers["cache-control"]

    async def test_after_a_while_it_is_missing(self, rig: Rig, clock: ManualClock) -> None:
        await rig.hear(
            IncidentHandler(rig.database, clock), opened("i1"), opened("i2", snapshot="")
        )
        clock.advance(31)
        for id in ("i1", "i2"):
            missing = await rig.api.get(f"/api/v1/incidents/{id}/snapshot")
            assert (missing.status_code, missing.json()["snapshot"]) == (404, "missing")

    async def test_of_no_incident_there_is_none(self, rig: Rig) -> None:
        answer = await rig.api.get("/api/v1/incidents/nobody/snapshot")
        assert answer.status_code == 404
        assert "snapshot" not in answer.json()

    async def test_an_evil_place_leads_nowhere(self, rig: Rig, clock: ManualClock) -> None:
        evil = opened("i1", snapshot="../../keys/master.key")
        await rig.hear(IncidentHandler(rig.database, clock), evil)
        answer = await rig.api.get("/api/v1/incidents/i1/snapshot")
        assert answer.status_code == 422


class TestAlerts:
    async def test_each_is_kept_once(self, rig: Rig) -> None:
        handler = AlertHandler(rig.database, rig.clock)
        await rig.hear(handler, alert("a1"), alert("a2", 1, severity="medium"))
        await rig.hear(handler, alert("a1"))
        items = await rig.items("alerts")
        assert [item["alert"] for item in items] == ["a2", "a1"]
        assert items[1]["camera_name"] == "Door"
        assert items[1]["snapshot"] == "/api/v1/incidents/i-a1/snapshot"
        assert len(await rig.items("alerts", severity="medium")) == 1


class TestCameraStatus:
    async def test_the_newest_state_and_since_when(self, rig: Rig) -> None:
        await rig.add("Door")
        await rig.add("Yard")
        handler = StatusHandler(rig.database)
        await rig.hear(handler, state("connecting", 1), state("online", 2, fps=5.0, epoch=1))
        await rig.hear(handler, state("online", 12, fps=4.9, epoch=1, sent=50))
        await rig.hear(handler, state("connecting", 1))  # a replay
        door, yard = await rig.items("camera-status")
        assert (door["camera"], door["state"], door["fps"], door["sent"]) == (
            "door",
            "online",
            4.9,
            50,
        )
        assert door["since"] == "2026-01-01T12:00:02Z"
        assert door["changed_at"] == "2026-01-01T12:00:12Z"
        assert (yard["camera"], yard["state"], yard["since"]) == ("yard", "unknown", None)
        assert await rig.items("camera-status", camera="yard") == [yard]
