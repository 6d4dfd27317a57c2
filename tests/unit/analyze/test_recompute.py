"""Recomputing what is on the log: the same as live, of what was asked for, and around what cannot be digested."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.event import Event
from schemas.events.detections_made import Detection
from schemas.events.incident_changes import IncidentOpened
from schemas.topics import TOPICS
from services.analyze.lane import PartitionStage
from services.analyze.recompute import Counts, Part, recomputed, start_of, write
from services.orchestrator.stage import CameraStage, Effects
from shared.bus.memory import open_memory
from shared.bus.port import Log, Message
from shared.bus.publisher import message
from shared.bus.sqlite import open_sqlite
from shared.clock import SystemClock
from shared.db.sqlite import open_sqlite as open_database
from tests.unit.orchestrator.happenings import (
    FIFTH,
    NOON,
    camera,
    enters,
    envelope,
    frame,
    handled,
    knowing,
    opened,
    walk,
)

LATER = "2026-01-01T00:00:00Z"
KNOWLEDGE = knowing(enters(), cameras=[camera("yard"), camera("gate")])


async def said(log: Log, *events: Event) -> None:
    await log.append([message(envelope(event, n)) for n, event in enumerate(events)])


async def found(log: Log, part: Part) -> tuple[Effects, Counts]:
    counts, all_of_it = Counts(), Effects()
    since = await start_of(log, part)
    async for effects in recomputed(log, KNOWLEDGE, part, counts, since):
        all_of_it.add(effects)
    return all_of_it, counts


def ids(effects: Effects) -> tuple[list[str], list[str]]:
    return [one.id for one in effects.fast], [one.id for one in effects.incidents]


def film(name: str = "yard") -> list[Event]:
    return [opened(name=name), *walk(camera=name)]


async def test_it_says_what_the_live_stage_said() -> None:
    live = handled(CameraStage(KNOWLEDGE), *film())
    async with open_memory() as log:
        await said(log, *film())
        effects, counts = await found(log, Part())
    [incident] = [one.event for one in effects.incidents if isinstance(one.event, IncidentOpened)]
    [same] = [one.event for one in live.incidents if isinstance(one.event, IncidentOpened)]
    assert (incident.incident, incident.tracks) == (same.incident, same.tracks)
    assert len(effects.fast) == len(live.fast)
    assert (counts.records, counts.events, counts.incidents) == (61, 61, 1)
    assert (counts.first_at, counts.last_at) == (NOON, NOON + 60 * FIFTH)


async def test_cameras_and_times_are_chosen() -> None:
    async with open_memory() as log:
        await said(log, *film(), *film("gate"))
        both, counts = await found(log, Part())
        assert (counts.incidents, counts.events) == (2, 122)
        _, one = await found(log, Part(cameras=frozenset({"gate"})))
        assert (one.incidents, one.events, one.records) == (1, 61, 122)
        _, early = await found(log, Part(until=NOON + 5 * FIFTH))
        assert (early.incidents, early.events) == (0, 10)
        _, late = await found(log, Part(since=NOON + 50 * FIFTH))
        assert late.events == 22
    assert len({id for ids_ in ids(both) for id in ids_}) == sum(map(len, ids(both)))


async def test_what_cannot_be_digested_is_counted_and_passed_over() -> None:
    good = film()
    bad = frame(30, 45.0, epoch=1)
    async with open_memory() as log:
        await said(log, *good[:31])
        broken = message(envelope(bad, 99))
        await log.append(
            [
                Message(topic="detections", key="yard", value=b"{", headers=broken.headers),
                Message(topic="detections", key=None, value=b"", headers=()),
            ]
        )
        await said(log, *good[31:])
        _, counts = await found(log, Part())
    assert (counts.bad, counts.events, counts.incidents) == (2, 61, 1)


def test_a_stage_goes_on_as_it_was_before_what_it_cannot_digest() -> None:
    events = [envelope(event, n) for n, event in enumerate(film())]
    nan = Detection("person", 0.9, (float("nan"), 0.0, 5.0, 5.0))
    bad = msgspec.structs.replace(frame(30), detections=(nan,))
    plain, hurt = (PartitionStage(lambda: CameraStage(KNOWLEDGE)) for _ in "ph")
    expected, said = Effects(), Effects()
    for number, one in enumerate(events):
        expected.add(plain.handle(one, now=NOON) or Effects())
        if number == 30:
            assert hurt.handle(envelope(bad, 99), now=NOON) is None
        said.add(hurt.handle(one, now=NOON) or Effects())
    assert ids(said) == ids(expected)
    assert said.incidents


async def test_what_went_back_to_another_group_is_not_counted_twice() -> None:
    async with open_memory() as log:
        await said(log, *film())
        again = message(envelope(frame(10, 15.0), 10))
        headers = (*again.headers, ("replay_group", b"vms-detections"))
        await log.append(
            [Message(topic="detections", key="yard", value=again.value, headers=headers)]
        )
        _, counts = await found(log, Part())
    assert (counts.events, counts.late) == (61, 0)


async def test_files(tmp_path: Path) -> None:
    told: list[int] = []
    async with open_memory() as log:
        await said(log, *film())
        await write(log, KNOWLEDGE, Part(), tmp_path, told.append)
    incidents = lines(tmp_path / "incidents.jsonl")
    assert [one["type"] for one in incidents][:2] == ["incident.opened.v1", "incident.moved.v1"]
    assert {one["type"] for one in incidents} >= {"alert.raised.v1"}
    tracks = lines(tmp_path / "tracks.jsonl")
    assert {one["type"] for one in tracks} == {"tracks.observed.v1"}
    assert tracks[0]["data"]["paths"][0]["track"] == "yard-1-1"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["incidents"], summary["bad"], summary["last"]) == (1, 0, "2026-01-01T12:00:12Z")
    assert told[-1] == 61


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def command(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services.main", "replay", *arguments],
        env={"VANTAGE_DATA_DIR": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_the_command_reads_the_log_of_a_stopped_server(tmp_path: Path) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    async with open_sqlite(folder / "log", TOPICS) as log:
        await said(log, *film())
    url = f"sqlite+aiosqlite:///{folder / 'db'}"
    migrations = "services.orchestrator.migrations"
    async with open_database(
        url, service="orchestrator", clock=SystemClock(), migrations=migrations
    ):
        pass
    done = command(folder, "--recompute", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"61 events, 0 incidents, 0 bad, written to {out}\n"
    assert sorted(path.name for path in out.iterdir()) == [
        "gaps.jsonl", "incidents.jsonl", "summary.json", "tracks.jsonl",
    ]  # fmt: skip
    async with open_sqlite(folder / "log", TOPICS):
        refused = command(folder, "--recompute", "--out", str(out))
    assert (refused.returncode, "open in another process" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "--recompute with --out"),
        (["--recompute"], "out: name the folder"),
        (["--recompute", "--group", "vms"], "either"),
        (["--recompute", "--topic", "frames", "--out", "x"], "ephemeral"),
        (["--recompute", "--topic", "alerts", "--out", "x"], "no input"),
        (["--recompute", "--topic", "predicates", "--out", "x"], "no input"),
        (["--recompute", "--from", "noon", "--out", "x"], "RFC 3339"),
        (
            ["--recompute", "--from", LATER, "--to", LATER, "--out", "x"],
            "name a later time",
        ),
        (["--recompute", "--camera", "yrad", "--out", "x"], "no camera 'yrad'; cameras here: none"),
        (["--group", "vms-alerts", "--to", "2026-01-01T00:00:00Z"], "belong to --recompute"),
        (["--group", "nothing"], "no service 'nothing'"),
        (["--group", "vms-nothing"], "groups: vms-alerts"),
        (["--group", "orchestrator", "--yes"], "--recompute"),
        (["--group", "inference", "--yes"], "ephemeral"),
        (["--group", "vms-alerts", "--from", "noon"], "RFC 3339"),
    ],
)
def test_what_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], why: str
) -> None:
    from typer.testing import CliRunner

    from services import main

    monkeypatch.setenv("VANTAGE_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(main.app, ["replay", *arguments])
    assert result.exit_code in (1, 2), result.output
    assert why in result.stderr
