"""Cameras over HTTP: every change is a document, logins go in and never come out."""

import json
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.security.camera_login import CameraLogin, open_login
from tests.unit.vms.conftest import NOON, Rig

SECRET = "c4n4ry-pa55"
ZONE = {"name": "yard", "points": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}
LINE = {"name": "gate", "a": [0.2, 0.5], "b": [0.8, 0.5]}
MASK = {"name": "window", "points": [[0, 0], [0.2, 0], [0.2, 0.2]]}


async def test_a_camera_is_added_shown_and_said(rig: Rig) -> None:
    added = await rig.add("Front Door", zones=[ZONE], lines=[LINE], masks=[MASK])
    assert added["id"] == "front-door"
    assert added["zones"] == [{"name": "yard", "points": ZONE["points"]}]
    assert added["masks"][0]["kind"] == "privacy"
    assert added["detect"] == {
        "model": "", "backend": "", "classes": ["person"], "threshold": 0.4, "nms": 0.45,
        "rate": 5.0, "every_frame": False,
    }  # fmt: skip
    assert added["effective_at"] == "2026-01-01T12:00:02Z"
    assert (await rig.api.get("/api/v1/cameras/front-door")).json() == added
    assert await rig.items("cameras") == [added]
    (document,) = await rig.documents()
    assert document.camera == "front-door"
    assert (document.site, document.time_zone) == ("site", "UTC")
    assert (document.document_version, document.effective_at) == (1, NOON + 2_000_000)
    assert document.zones[0].points[0] == (0.0, 0.5)
    assert document.lines[0].b == (0.8, 0.5)


async def test_every_change_is_the_whole_document_one_version_on(
    rig: Rig, clock: ManualClock
) -> None:
    await rig.add("Door", zones=[ZONE])
    clock.advance(60)
    changed = await rig.api.patch(
        "/api/v1/cameras/door",
        json={"name": "Back Door", "detect": {"threshold": 0.5, "classes": ["person", "car"]}},
    )
    assert changed.status_code == 200
    assert changed.json()["id"] == "door"
    assert changed.json()["document_version"] == 2
    last = (await rig.documents())[-1]
    assert (last.name, last.document_version, last.detect.threshold) == ("Back Door", 2, 0.5)
    assert last.detect.classes == ("person", "car")
    assert [zone.name for zone in last.zones] == ["yard"]
    assert last.effective_at == NOON + 62_000_000


async def test_nothing_is_said_where_nothing_changes(rig: Rig) -> None:
    added = await rig.add("Door", zones=[ZONE])
    answer = await rig.api.patch(
        "/api/v1/cameras/door", json={"zones": [ZONE], "name": "Door", "url": added["url"]}
    )
    assert answer.json() == added
    assert len(await rig.documents()) == 1


async def test_removal_is_a_tombstone_and_a_new_one_goes_on_counting(rig: Rig) -> None:
    await rig.add("Door")
    await rig.api.patch("/api/v1/cameras/door", json={"enabled": False})
    assert (await rig.api.delete("/api/v1/cameras/door")).status_code == 204
    gone = (await rig.said())[-1]
    assert (gone.topic, gone.key, gone.event) == ("cameras", "door", None)
    assert (await rig.api.get("/api/v1/cameras/door")).status_code == 404
    assert (await rig.api.delete("/api/v1/cameras/door")).status_code == 404
    assert (await rig.api.patch("/api/v1/cameras/door", json={})).status_code == 404
    again = await rig.add("Door")
    assert again["document_version"] == 3
    assert again["enabled"] is True


async def test_a_refused_camera_leaves_nothing(rig: Rig) -> None:
    bow = {"name": "bow", "points": [[0, 0], [1, 1], [1, 0], [0, 1]]}
    body = {"name": "Door", "url": "rtsp://127.0.0.10/door", "zones": [ZONE, bow]}
    answer = await rig.api.post("/api/v1/cameras", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == "zones[1].points"
    assert await rig.items("cameras") == []
    assert await rig.said() == []


@pytest.mark.parametrize(
    "same",
    [
        "rtsp://127.0.0.10/door",
        "rtsp://127.0.0.10:554/door",
        "RTSP://127.0.0.10/x/../door/",
        "rtsp://user:other@127.0.0.10/%64oor",
    ],
)
async def test_the_same_address_is_refused_however_it_is_written(rig: Rig, same: str) -> None:
    await rig.add("Door")
    answer = await rig.api.post("/api/v1/cameras", json={"name": "Other", "url": same})
    assert answer.status_code == 409
    assert "'Door'" in answer.json()["detail"]
    await rig.add("Third")
    moved = await rig.api.patch("/api/v1/cameras/third", json={"url": same})
    assert moved.status_code == 409
    assert len(await rig.items("cameras")) == 2


@pytest.mark.parametrize("name", ["Door", "door", "DOOR!"])
async def test_the_same_name_is_refused(rig: Rig, name: str) -> None:
    await rig.add("Door")
    body = {"name": name, "url": "rtsp://127.0.0.10/other"}
    assert (await rig.api.post("/api/v1/cameras", json=body)).status_code == 409


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": "a\u202eb"}, "name"),
    ({"name": 7}, "name"),
    ({"name": None}, "name"),
    ({"url": ""}, "url"),
    ({"url": "x" * 1_000_000}, "url"),
    ({"url": "no url"}, "url"),
    ({"url": "ftp://127.0.0.10/a"}, "url"),
    ({"url": "rtsp://"}, "url"),
    ({"url": "rtsp://127.0.0.10:99999/a"}, "url"),
    ({"url": "rtsp://[::1/a"}, "url"),
    ({"url": "rtsp://127.0.0.10/a\r\nx"}, "url"),
    ({"url": "concat:a|b"}, "url"),
    ({"enabled": 1}, "enabled"),
    ({"enabled": "yes"}, "enabled"),
    ({"zones": [{"name": "a", "points": [[0, 0], [1, 1]]}]}, "zones"),
    ({"zones": [{"name": "a", "points": [[0, 0], [1, 0], [1]]}]}, "zones"),
    ({"zones": [{"name": "a", "points": [[0, 0], [1, 0], [1, 2]]}]}, "zones"),
    ({"zones": [{"name": "a", "points": [[0, 0], [1, 0], ["1", 1]]}]}, "zones"),
    ({"zones": [{"name": "a", "points": [[0, 0]] * 100_000}]}, "zones"),
    ({"zones": [{**ZONE, "name": "a"}, {**ZONE, "name": "a"}]}, "zones"),
    ({"zones": [{**ZONE, "colour": "red"}]}, "zones"),
    ({"zones": [ZONE] * 65}, "zones"),
    ({"zones": {}}, "zones"),
    ({"lines": [{"name": "a", "a": [0.5, 0.5], "b": [0.5, 0.5]}]}, "lines"),
    ({"lines": [{"name": "a", "a": [0.5, 0.5], "b": [0.5, 5]}]}, "lines"),
    ({"masks": [{**MASK, "kind": "blur"}]}, "masks"),
    ({"detect": {"threshold": 1.1}}, "detect"),
    ({"detect": {"threshold": True}}, "detect"),
    ({"detect": {"rate": 0}}, "detect"),
    ({"detect": {"rate": 61}}, "detect"),
    ({"detect": {"classes": []}}, "detect"),
    ({"detect": {"classes": ["a\0"]}}, "detect"),
    ({"detect": {"backend": "../x"}}, "detect"),
    ({"detect": {"mode": 1}}, "detect"),
    ({"credentials": {"username": "u", "password": "p", "token": "t"}}, "credentials"),
    ({"credentials": {"username": "u\n"}}, "credentials"),
    ({"credentials": "u:p"}, "credentials"),
    ({"id": "door"}, "id"),
    ({"document_version": 7}, "document_version"),
    ({"created_at": 0}, "created_at"),
    ({"has_credentials": True}, "has_credentials"),
]


async def test_bad_fields_are_named_and_refused_at_adding(rig: Rig) -> None:
    passed = []
    for fields, field in BAD_FIELDS:
        body = {"name": "Door", "url": "rtsp://127.0.0.10/door", **fields}
        answer = await rig.api.post("/api/v1/cameras", json=body)
        named = answer.json().get("errors", [{"field": ""}])[0]["field"]
        if answer.status_code != 422 or field not in named:
            passed.append((str(fields)[:80], answer.status_code, answer.text[:200]))
    assert passed == []
    assert await rig.said() == []


async def test_bad_fields_are_refused_at_changing(rig: Rig) -> None:
    await rig.add("Fine")
    passed = []
    for fields, _ in BAD_FIELDS:
        answer = await rig.api.patch("/api/v1/cameras/fine", json=fields)
        if answer.status_code != 422 and fields != {"name": None}:
            passed.append((str(fields)[:80], answer.status_code, answer.text[:200]))
    assert passed == []
    assert len(await rig.documents()) == 1


BAD_JSON = [
    '{"name": "Door", "url": "rtsp://127.0.0.10/a", "detect": {"rate": NaN}}',
    '{"name": "Door", "url": "rtsp://127.0.0.10/a", "detect": {"rate": 1e309}}',
    '{"name": "Door", "url": "rtsp://127.0.0.10/a", "detect": {"threshold": Infinity}}',
    '{"name": "\\ud800", "url": "rtsp://127.0.0.10/a"}',
    '{"name": "Door", "url": "rtsp://127.0.0.10/a"} trailing',
    '{"name": "Door"',
    "[" * 10_000,
    "",
    "null",
]


async def test_bad_json_is_refused(rig: Rig) -> None:
    for raw in BAD_JSON:
        answer = await rig.api.post(
            "/api/v1/cameras", content=raw, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422), (raw[:80], answer.text)
    assert await rig.said() == []


STRANGE = ["{{7*7}}", "${jndi:x}", "' OR 1=1--", "<img src=x onerror=1>", "=cmd|'C'!A0", "../x"]


async def test_strange_names_are_stored_as_they_are(rig: Rig) -> None:
    for name in STRANGE:
        assert (await rig.add(name))["name"] == name
    assert {camera["name"] for camera in await rig.items("cameras")} == set(STRANGE)


async def test_this_machine_is_no_camera_unless_it_is_listed(closed_rig: Rig) -> None:
    body = {"name": "Door", "url": "rtsp://127.0.0.10/door"}
    answer = await closed_rig.api.post("/api/v1/cameras", json=body)
    assert answer.status_code == 422
    assert "VANTAGE_CAMERA_NETS" in answer.json()["detail"]
    assert await closed_rig.items("cameras") == []


async def test_local_sources_are_cameras_too(rig: Rig) -> None:
    await rig.add("Sim", url="sim://demo?seed=7")
    await rig.add("File", url="file:///videos/a.mp4")
    same = {"name": "Again", "url": "file:///videos/b/../a.mp4"}
    assert (await rig.api.post("/api/v1/cameras", json=same)).status_code == 409


class TestLogins:
    @pytest.mark.parametrize("apart", [True, False])
    async def test_they_are_sealed_and_never_shown(self, rig: Rig, apart: bool) -> None:
        if apart:
            login = {"username": "admin", "password": SECRET}
            added = await rig.add("Door", credentials=login)
        else:
            added = await rig.add("Door", url=f"rtsp://admin:{SECRET}@127.0.0.10/door")
        assert added["has_credentials"] is True
        assert added["url"] == "rtsp://127.0.0.10/door"
        (document,) = await rig.documents()
        seen = [json.dumps(added), (await rig.api.get("/api/v1/cameras")).text, repr(document)]
        seen += [(rig.data_dir / "db" / "vms.db").read_bytes().decode(errors="replace")]
        assert not any(SECRET in text or "admin" in text for text in seen)
        found = open_login(rig.box, "door", document.credentials)
        assert found == CameraLogin(username="admin", password=SECRET)

    async def test_the_mask_means_unchanged(self, rig: Rig) -> None:
        await rig.add("Door", credentials={"username": "admin", "password": SECRET})
        changed = await rig.api.patch(
            "/api/v1/cameras/door",
            json={"name": "New", "credentials": {"username": "guard", "password": "********"}},
        )
        assert changed.status_code == 200
        login = open_login(rig.box, "door", (await rig.documents())[-1].credentials)
        assert login == CameraLogin(username="guard", password=SECRET)

    async def test_left_out_they_stay_and_null_forgets_them(self, rig: Rig) -> None:
        await rig.add("Door", credentials={"username": "admin", "password": SECRET})
        await rig.api.patch("/api/v1/cameras/door", json={"url": "rtsp://127.0.0.10/other"})
        assert (await rig.documents())[-1].credentials
        forgotten = await rig.api.patch("/api/v1/cameras/door", json={"credentials": None})
        assert forgotten.json()["has_credentials"] is False
        assert (await rig.documents())[-1].credentials == ""

    @pytest.mark.parametrize(
        "access",
        [
            {"url": "rtsp://127.0.0.66/door"},
            {"url": "rtsp://127.0.0.10:8554/door"},
            {"url": "http://127.0.0.10/door"},
            {"url": "rtsp://admin:********@127.0.0.66/door"},
            {
                "url": "rtsp://127.0.0.66/door",
                "credentials": {"username": "a", "password": "********"},
            },
        ],
    )
    async def test_they_follow_to_no_other_address(self, rig: Rig, access: dict[str, Any]) -> None:
        await rig.add("Door", credentials={"username": "admin", "password": SECRET})
        answer = await rig.api.patch("/api/v1/cameras/door", json=access)
        assert answer.status_code == 422
        assert "enter user and password again" in answer.json()["detail"]
        assert len(await rig.documents()) == 1

    async def test_entered_again_they_do(self, rig: Rig) -> None:
        await rig.add("Door", credentials={"username": "admin", "password": SECRET})
        url = f"rtsp://admin:{SECRET}@127.0.0.66/door"
        assert (await rig.api.patch("/api/v1/cameras/door", json={"url": url})).status_code == 200

    async def test_a_mask_where_nothing_is_stored_is_refused(self, rig: Rig) -> None:
        body = {"name": "Door", "url": "rtsp://admin:********@127.0.0.10/door"}
        answer = await rig.api.post("/api/v1/cameras", json=body)
        assert answer.status_code == 422
        assert "there is none" in answer.json()["detail"]

    async def test_removing_a_camera_forgets_its_login(self, rig: Rig) -> None:
        await rig.add("Door", credentials={"username": "admin", "password": SECRET})
        await rig.api.delete("/api/v1/cameras/door")
        assert (await rig.add("Door"))["has_credentials"] is False


class TestSite:
    async def test_it_has_a_time_zone(self, rig: Rig) -> None:
        assert (await rig.api.get("/api/v1/site")).json() == {
            "id": "site",
            "name": "Site",
            "time_zone": "UTC",
        }

    async def test_a_new_time_zone_is_said_for_every_camera(self, rig: Rig) -> None:
        await rig.add("Door")
        await rig.add("Yard")
        answer = await rig.api.patch("/api/v1/site", json={"time_zone": "Europe/Berlin"})
        assert answer.json()["time_zone"] == "Europe/Berlin"
        last = (await rig.documents())[-2:]
        assert {document.camera for document in last} == {"door", "yard"}
        assert {(one.time_zone, one.document_version) for one in last} == {("Europe/Berlin", 2)}

    async def test_a_new_name_is_said_to_nobody(self, rig: Rig) -> None:
        await rig.add("Door")
        await rig.api.patch("/api/v1/site", json={"name": "Depot"})
        assert len(await rig.documents()) == 1

    @pytest.mark.parametrize(
        "body", [{"time_zone": "Mars/Base"}, {"time_zone": ""}, {"id": "x"}, {"name": "\0"}, []]
    )
    async def test_bad_changes_are_refused(self, rig: Rig, body: object) -> None:
        assert (await rig.api.patch("/api/v1/site", json=body)).status_code == 422
