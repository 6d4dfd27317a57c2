"""Restarts, killed readers and leases: what was missed is said truly, and nothing is said under a stale epoch."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from schemas.events.stream_marks import StreamClosed, StreamInterrupted, StreamOpened
from services.ingest import store
from shared.db.base import LEASES
from shared.errors import Unavailable
from shared.images import pixels
from shared.sim.timestrip import read_time
from tests.integration.ingest.conftest import Ingest, Said, running

SECOND = 1_000_000
YARD = "sim://demo?fps=10&duration=3600&resume=1"


def scene_times(said: Said) -> list[int]:
    found = [read_time(pixels(e.picture)) for e in said.envelopes if e.picture is not None]
    return [time for time in found if time is not None]


async def test_the_yard_goes_on_a_second_after_what_was_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.configure(url=YARD)
        await first.said.until(lambda: len(first.said.frames()) >= 35)
    before = scene_times(first.said)
    last = first.said.frames()[-1].captured_at
    async with running(tmp_path) as second:
        await second.configure(url=YARD)
        await second.said.until(lambda: len(second.said.frames()) >= 5)
        (interrupted,) = second.said.of(StreamInterrupted)
        (opened,) = second.said.of(StreamOpened)
    assert (interrupted.epoch, opened.epoch) == (1, 2)
    assert (interrupted.lease, opened.lease) == (2, 2)
    assert last - 2 * SECOND <= interrupted.since <= last
    assert interrupted.until <= opened.opened_at
    after = scene_times(second.said)
    stored = after[0] - SECOND
    assert stored in before
    assert before[-1] - 2 * SECOND <= stored <= before[-1]
    times = [frame.captured_at - opened.opened_at for frame in second.said.frames()]
    assert times == [time - after[0] for time in after]


async def test_without_resume_it_begins_again(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.configure(url="sim://demo?fps=10")
        await first.said.until(lambda: len(first.said.frames()) >= 15)
    async with running(tmp_path) as second:
        await second.configure(url="sim://demo?fps=10")
        await second.said.until(lambda: second.said.frames())
        assert scene_times(second.said)[0] == 0
        assert second.said.of(StreamOpened)[0].epoch == 2


async def test_a_killed_reader_is_replaced_and_the_gap_is_said(ingest: Ingest) -> None:
    await ingest.configure(url=YARD)
    await ingest.configure(name="other", url="sim://demo?fps=10")
    await ingest.said.until(lambda: ingest.said.frames() and ingest.said.frames("other"))
    hosts = ingest.studio.hosts
    assert len(hosts.pids) == 1
    os.kill(hosts.pids[0], signal.SIGKILL)
    await ingest.said.until(
        lambda: all(len(ingest.said.of(StreamOpened, name)) == 2 for name in ("yard", "other"))
    )
    (interrupted,) = ingest.said.of(StreamInterrupted)
    assert interrupted.reason == "its reader process died"
    assert interrupted.until - interrupted.since < 2 * SECOND
    seen = len(ingest.said.frames())
    await ingest.said.until(lambda: len(ingest.said.frames()) > seen)
    assert hosts.pid_of("yard") == hosts.pid_of("other")


async def test_who_saw_two_readers_die_gets_one_of_its_own(ingest: Ingest) -> None:
    hosts = ingest.studio.hosts
    await ingest.configure(url=YARD)
    for deaths in (1, 2):
        await ingest.said.until(lambda n=deaths: len(ingest.said.of(StreamOpened)) == n)  # type: ignore[misc]
        os.kill(hosts.pids[0], signal.SIGKILL)
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) == 3)
    await ingest.configure(name="other", url="sim://demo?fps=10")
    await ingest.said.until(lambda: ingest.said.frames("other"))
    assert hosts.pid_of("yard") != hosts.pid_of("other")
    os.kill(hosts.pid_of("yard") or 0, signal.SIGKILL)
    seen = len(ingest.said.frames("other"))
    await ingest.said.until(lambda: len(ingest.said.frames("other")) > seen + 5)
    assert len(ingest.said.of(StreamOpened, "other")) == 1


async def test_who_lost_its_lease_falls_silent(tmp_path: Path) -> None:
    async with running(tmp_path, instance="one") as one:
        await one.configure(url=YARD)
        await one.said.until(lambda: one.said.frames())
        seen = 0
        for second in range(5):
            async with one.studio.database.transaction() as tx:
                values = {"owner": "two", "generation": 7, "expires_at": second + 1}
                lease = update(LEASES).where(LEASES.c.name == "camera/yard")
                await tx.execute(lease.values(values))
            seen = len(one.said.frames())
            await asyncio.sleep(1)
        assert len(one.said.frames()) == seen


async def test_a_change_that_could_not_be_stored_is_made_when_the_database_is_back(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.handlers.AGAIN_S", 0.1)
    finish, refusals = store.finish, iter([True, True, False])

    async def refuses(*arguments: Any) -> None:
        if next(refusals):
            raise Unavailable("the database is away")
        await finish(*arguments)

    monkeypatch.setattr(store, "finish", refuses)
    await ingest.configure(url=YARD)
    await ingest.said.until(lambda: ingest.said.frames())
    await ingest.configure(url="sim://demo?fps=5", version=2)
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) == 2)
    assert next(refusals, None) is None
    assert {closed.epoch for closed in ingest.said.of(StreamClosed)} == {1}


async def test_what_is_known_of_a_camera_outlives_its_being_switched_off(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.configure(url=YARD)
        await first.said.until(lambda: first.said.frames())
        await first.configure(url=YARD, enabled=False, version=2)
        await first.said.until(lambda: first.state() == "disabled")
        (closed,) = first.said.of(StreamClosed)
    async with running(tmp_path) as second:
        await second.configure(url=YARD, enabled=False, version=2)
        await second.said.until(lambda: second.state() == "disabled")
        await second.configure(url=YARD, version=3)
        await second.said.until(lambda: second.state() != "disabled")
        async with second.studio.database.read() as reader:
            stored = await store.load(reader, "yard")
    assert stored is not None
    assert stored.last_at >= closed.closed_at


def open_files(pid: int | str) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_descriptors_and_processes_stay_flat(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?duration=5&loop=1&rate=max", rate=5.0)
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) >= 5)
    before = open_files("self")
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) >= 40)
    assert open_files("self") <= before + 2
    pid = ingest.studio.hosts.pids[0]
    assert open_files(pid) < 12


@pytest.mark.chaos
@pytest.mark.row("R23")
async def test_many_cameras_that_fall_together_return(ingest: Ingest) -> None:
    names = [f"camera-{number}" for number in range(24)]
    for name in names:
        await ingest.configure(name=name, url="sim://demo?fps=1&size=256x144&duration=3600")

    def opened(times: int) -> bool:
        return all(len(ingest.said.of(StreamOpened, name)) >= times for name in names)

    await ingest.said.until(lambda: opened(1), timeout=120)
    pids = ingest.studio.hosts.pids
    assert len(pids) == 6
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await ingest.said.until(lambda: opened(2), timeout=120)
    starts = sorted(mark.opened_at for name in names for mark in ingest.said.of(StreamOpened, name))
    again = starts[len(names) :]
    for first, eleventh in zip(again, again[11:], strict=False):
        assert eleventh - first > SECOND / 2
