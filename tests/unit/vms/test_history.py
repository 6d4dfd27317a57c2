"""The history over HTTP: what was said can be found again, once each, in pages and as files."""

import csv
import io
from typing import Any

import pytest

from services.vms.handlers import AlertHandler, DetectionHandler, TrackHandler
from tests.unit.vms.conftest import ON_BOTH, Rig
from tests.unit.vms.happenings import alert, look, second

pytestmark = ON_BOTH

LEFT = {"name": "left", "points": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
LOW = {"name": "Low", "points": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}
LOWER_CASE = {"name": "low", "points": [[0.9, 0], [1, 0], [1, 0.1]]}


@pytest.fixture
async def seen(rig: Rig) -> Rig:
    """Ten frames of two cameras."""
    await rig.add("Door", zones=[LEFT, LOW, LOWER_CASE])
    await rig.add("Yard")
    handler = DetectionHandler(rig.database, rig.clock)
    await rig.hear(
        handler,
        look(1, ("person", 20, 80), ("car", 80, 30)),
        look(2),
        look(3, ("person", 80, 80)),
        look(3, ("person", 20, 80), camera="yard"),
        look(4, ("dog", 20, 30)),
    )
    return rig


def brief(items: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(item["camera"], item["seq"], item["class"]) for item in items]


class TestDetections:
    async def test_newest_first_with_their_zones(self, seen: Rig) -> None:
        items = await seen.items("detections")
        assert brief(items) == [
            ("door", 4, "dog"),
            ("yard", 3, "person"),
            ("door", 3, "person"),
            ("door", 1, "car"),
            ("door", 1, "person"),
        ]
        assert items[-1] == {
            "camera": "door", "epoch": 1, "seq": 1, "at": "2026-01-01T12:00:01Z",
            "class": "person", "score": 0.5, "box": [15.0, 60.0, 10.0, 20.0],
            "frame": [100, 100], "zones": ["Low", "left"], "model": "m", "simulated": False,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"camera": "yard"}, ["yard 3"]),
            ({"camera": ["door", "yard"], "class": "person"}, ["yard 3", "door 3", "door 1"]),
            ({"class": ["dog", "car"]}, ["door 4", "door 1"]),
            ({"zone": "left"}, ["door 4", "door 1"]),
            ({"zone": "Low"}, ["door 3", "door 1"]),
            ({"zone": "low"}, []),
            ({"zone": "ef"}, []),
            ({"zone": "%"}, []),
            ({"zone": ["left", "Low"], "class": "person"}, ["door 3", "door 1"]),
            ({"from": "2026-01-01T12:00:03Z"}, ["door 4", "yard 3", "door 3"]),
            ({"to": "2026-01-01T12:00:03Z"}, ["door 1", "door 1"]),
            (
                {"from": "2026-01-01T13:00:03+01:00", "to": "2026-01-01T12:00:03.5Z"},
                ["yard 3", "door 3"],
            ),
            ({"camera": "nobody"}, []),
        ],
    )
    async def test_filters(self, seen: Rig, query: dict[str, Any], found: list[str]) -> None:
        page = await seen.page("detections", count=True, **query)
        assert [f"{item['camera']} {item['seq']}" for item in page["items"]] == found
        assert page["count"] == len(found)

    async def test_a_replay_changes_nothing(self, seen: Rig) -> None:
        before = await seen.items("detections")
        await seen.hear(DetectionHandler(seen.database, seen.clock), look(4, ("dog", 20, 30)))
        assert await seen.items("detections") == before

    async def test_zones_are_those_of_the_time_of_storing(self, seen: Rig) -> None:
        handler = DetectionHandler(seen.database, seen.clock)
        await seen.hear(handler, look(5, ("person", 20, 80)))
        await seen.api.patch("/api/v1/cameras/door", json={"zones": [{**LOW, "name": "new"}]})
        await seen.hear(handler, look(6, ("person", 20, 80)))
        zones = [item["zones"] for item in await seen.items("detections", limit=2)]
        assert zones == [["new"], ["Low", "left"]]


class TestPages:
    async def test_all_pages_are_the_whole_even_while_more_comes(self, seen: Rig) -> None:
        whole = await seen.items("detections")
        found, cursor = [], None
        for number in range(10):
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = await seen.page("detections", **query)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
            newer = look(100 + number, ("person", 1, 1))
            await seen.hear(DetectionHandler(seen.database, seen.clock), newer)
        assert found == whole

    async def test_a_last_page_that_is_full_is_the_last(self, seen: Rig) -> None:
        assert (await seen.page("detections", limit=5))["next"] is None

    async def test_a_cursor_holds_for_its_question_alone(self, seen: Rig) -> None:
        cursor = (await seen.page("detections", limit=2))["next"]
        for path, query in (
            ("detections", {"cursor": cursor, "class": "person"}),
            ("alerts", {"cursor": cursor}),
            ("detections", {"cursor": cursor[:-2]}),
            ("detections", {"cursor": "x" + cursor[1:]}),
            ("detections", {"cursor": ""}),
            ("detections", {"cursor": "eyJhdCI6MH0="}),
            ("detections", {"cursor": "' OR 1=1--"}),
            ("detections", {"cursor": "x" * 2000}),
        ):
            answer = await seen.api.get(f"/api/v1/{path}", params=query)
            assert answer.status_code == 422, query
            assert "cursor" in answer.json()["detail"]

    BAD = (
        {"from": "yesterday"}, {"from": "2026-01-01"}, {"from": "2026-01-01T12:00:00"},
        {"from": "2026-13-01T00:00:00Z"}, {"from": "2026-01-01T12:00:00+99:99"},
        {"from": "1767268800"}, {"from": "NaN"}, {"to": "2026-01-01T24:61:00Z"}, {"from": ""},
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        {"limit": 0}, {"limit": -1}, {"limit": 10**9}, {"limit": "1e2"}, {"limit": 2**63},
        {"count": "perhaps"}, {"format": "xml"}, {"camera": ""}, {"class": "a\0b"},
        {"camera": ["a"] * 101}, {"class": "x" * 1_000}, {"severity": "high"}, {"sort": "at"},
        {"zone": "a\r\nb"},
    )  # fmt: skip

    async def test_bad_questions_are_refused(self, seen: Rig) -> None:
        passed = []
        for query in self.BAD:
            answer = await seen.api.get("/api/v1/detections", params=query)
            if answer.status_code != 422 or not answer.json()["detail"]:
                passed.append((query, answer.status_code))
        assert passed == []

    async def test_dates_at_the_ends_of_time_are_questions_like_others(self, seen: Rig) -> None:
        ends = {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59.999999-12:00"}
        assert len(await seen.items("detections", **ends)) == 5


class TestExports:
    async def test_csv(self, seen: Rig) -> None:
        query = {"format": "csv", "class": "person"}
        answer = await seen.api.get("/api/v1/detections", params=query)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert 'filename="detections.csv"' in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(row["camera"], row["seq"], row["class"]) for row in rows] == [
            ("yard", "3", "person"),
            ("door", "3", "person"),
            ("door", "1", "person"),
        ]
        assert rows[-1]["zones"] == '["Low","left"]'

    async def test_json(self, seen: Rig) -> None:
        answer = await seen.api.get("/api/v1/detections", params={"format": "json"})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == await seen.items("detections")

    async def test_nothing(self, rig: Rig) -> None:
        empty_json = await rig.api.get("/api/v1/alerts", params={"format": "json"})
        empty_csv = await rig.api.get("/api/v1/alerts", params={"format": "csv"})
        assert empty_json.json() == []
        assert empty_csv.text.startswith("alert,incident,camera")
        assert empty_csv.text.count("\r\n") == 1

    async def test_formulas_are_text(self, rig: Rig) -> None:
        evil = alert("a", title="=cmd|' /C calc'!A0", summary="+1")
        await rig.hear(AlertHandler(rig.database, rig.clock), evil)
        answer = await rig.api.get("/api/v1/alerts", params={"format": "csv"})
        (row,) = csv.DictReader(io.StringIO(answer.text))
        assert (row["title"], row["summary"]) == ("'=cmd|' /C calc'!A0", "'+1")

    async def test_many_rows_are_all_there_once(self, rig: Rig) -> None:
        handler = DetectionHandler(rig.database, rig.clock)
        for start in range(0, 2500, 500):
            await rig.hear(
                handler, *(look(seq, ("person", 1, 1)) for seq in range(start, start + 500))
            )
        answer = await rig.api.get("/api/v1/detections", params={"format": "json"})
        assert [item["seq"] for item in answer.json()] == list(reversed(range(2500)))


class TestTracks:
    async def test_seconds_become_one_track(self, rig: Rig) -> None:
        await rig.add("Door", zones=[LEFT, LOW])
        handler = TrackHandler(rig.database, rig.clock)
        await rig.hear(
            handler,
            second(1, ("door-1-1", "person", 20, 20)),
            second(2, ("door-1-1", "person", 80, 80), ("door-1-2", "car", 20, 20)),
        )
        await rig.hear(handler, second(3, ("door-1-1", "person", 90, 20)))
        older, newer = sorted(await rig.items("tracks"), key=lambda item: str(item["track"]))
        assert older == {
            "track": "door-1-1", "camera": "door", "epoch": 1, "class": "person",
            "first_at": "2026-01-01T12:00:01Z", "last_at": "2026-01-01T12:00:03Z",
            "born_at": "2026-01-01T12:00:00Z", "frame": [100, 100], "zones": ["Low", "left"],
            "simulated": False,
        }  # fmt: skip
        assert newer["zones"] == ["left"]

    async def test_one_with_its_points(self, rig: Rig) -> None:
        handler = TrackHandler(rig.database, rig.clock)
        path = ("door-1-1", "person", 20.0, 20.0)
        await rig.hear(handler, second(2, path), second(1, path))
        found = (await rig.api.get("/api/v1/tracks/door-1-1")).json()
        assert found["track"] == "door-1-1"
        assert found["points"] == [
            {"at": "2026-01-01T12:00:01Z", "box": [15.0, 0.0, 10.0, 20.0], "score": 0.9},
            {"at": "2026-01-01T12:00:02Z", "box": [15.0, 0.0, 10.0, 20.0], "score": 0.9},
        ]
        assert (await rig.api.get("/api/v1/tracks/nobody")).status_code == 404

    async def test_a_track_is_found_wherever_it_lived(self, rig: Rig) -> None:
        handler = TrackHandler(rig.database, rig.clock)
        path = ("door-1-1", "person", 20.0, 20.0)
        await rig.hear(handler, *(second(number, path) for number in range(10)))
        for since, until, found in ((4, 5, 1), (9, 20, 1), (10, 20, 0), (0, 1, 1)):
            window = {
                "from": f"2026-01-01T12:00:{since:02}Z",
                "to": f"2026-01-01T12:00:{until:02}Z",
            }
            assert len(await rig.items("tracks", **window)) == found

    async def test_a_replay_of_older_seconds_takes_nothing_back(self, rig: Rig) -> None:
        handler = TrackHandler(rig.database, rig.clock)
        seconds = [second(number, ("door-1-1", "person", 20, 20)) for number in range(5)]
        await rig.hear(handler, *seconds)
        before = await rig.items("tracks")
        await rig.hear(handler, *seconds[:2])
        assert await rig.items("tracks") == before
