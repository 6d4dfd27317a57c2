"""Several ingest processes on one database share the cameras: each is read by one, whoever comes, goes or stalls."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from schemas.events.stream_marks import StreamInterrupted, StreamOpened
from services.ingest.domain import Member, assign
from tests.contract.bus import until
from tests.integration.ingest.conftest import PATIENT, Ingest, running

SECOND = 1_000_000
SHORT = 4.0  # seconds of a lease whose end is waited for
NAMES = tuple(f"camera-{number}" for number in range(5))
URL = "sim://demo?fps=4&size=256x144&duration=3600&resume=1"


async def configure(all_: Sequence[Ingest], names: Sequence[str] = NAMES) -> None:
    for name in names:
        for one in all_:
            await one.configure(name=name, url=URL)


def held(one: Ingest) -> set[str]:
    return {name for name, on in one.cameras.configured().items() if on and reads(one, name)}


def reads(one: Ingest, name: str) -> bool:
    stream = one.cameras.stream(name)
    return stream is not None and stream.mark is not None


def share(of: str, *members: str) -> set[str]:
    owners = assign(NAMES, [Member(name) for name in members])
    return {camera for camera, owner in owners.items() if owner == of}


def never_beside_each_other(*all_: Ingest) -> None:
    """Of each camera: one holder a generation, and each begins after the one before has ended."""
    for name in NAMES:
        spans: dict[int, tuple[int, int]] = {}
        for one in all_:
            for lease in {frame.lease for frame in one.said.frames(name)}:
                times = [f.captured_at for f in one.said.frames(name) if f.lease == lease]
                assert lease not in spans
                spans[lease] = (times[0], times[-1])
        ordered = [spans[lease] for lease in sorted(spans)]
        for (_, ended), (began, _) in itertools.pairwise(ordered):
            assert ended < began


@asynccontextmanager
async def together(
    folder: Path, *names: str, lease: float = PATIENT
) -> AsyncIterator[list[Ingest]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running(folder, instance=name, lease=lease))
            for name in names
        ]


async def test_who_joins_gets_its_share_and_who_leaves_gives_it_back(tmp_path: Path) -> None:
    async with running(tmp_path, instance="one") as one:
        await configure([one])
        await until(lambda: held(one) == set(NAMES))
        async with running(tmp_path, instance="two") as two:
            await configure([two])
            await until(lambda: held(two) == share("two", "one", "two"))
            await until(lambda: held(one) == share("one", "one", "two"))
            assert held(one)
            assert held(two)
            for name in held(two):
                (interrupted,) = two.said.of(StreamInterrupted, name)
                last = one.said.frames(name)[-1].captured_at
                assert last <= interrupted.since < last + SECOND
                assert interrupted.reason == "ingest process one left the camera"
                (opened,) = two.said.of(StreamOpened, name)
                assert (opened.epoch, opened.lease) == (2, 2)
                assert interrupted.until <= opened.opened_at
            moved = held(two)
        await until(lambda: held(one) == set(NAMES))
        for name in NAMES:
            opened_epochs = [mark.epoch for mark in one.said.of(StreamOpened, name)]
            assert opened_epochs == ([1, 3] if name in moved else [1])
        never_beside_each_other(one, two)


@pytest.mark.row("R25")
async def test_who_dies_is_followed_when_its_time_is_over(tmp_path: Path) -> None:
    async with running(tmp_path, instance="one", lease=SHORT) as one:
        await configure([one])
        async with running(tmp_path, instance="two", leaves=False, lease=SHORT) as two:
            await configure([two])
            await until(lambda: held(two) == share("two", "one", "two"))
            before = held(two)
        assert before
        await until(lambda: held(one) == set(NAMES))
        for name in before:
            interrupted = one.said.of(StreamInterrupted, name)[-1]
            assert interrupted.until - interrupted.since < 30 * SECOND
            assert interrupted.until - interrupted.since > (SHORT - 1) * SECOND
        never_beside_each_other(one, two)


async def test_who_is_started_again_has_its_own_cameras_back_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, instance="one", lease=20) as one:
        await configure([one])
        async with running(tmp_path, instance="two", leaves=False, lease=20) as two:
            await configure([two])
            await until(lambda: held(two) == share("two", "one", "two"))
            await until(lambda: all(two.said.frames(name) for name in held(two)))
            leases = {name: two.said.frames(name)[-1].lease for name in held(two)}
        async with running(tmp_path, instance="two", lease=20) as again:
            await configure([again])
            await until(lambda: held(again) == share("two", "one", "two"))
            for name in held(again):
                (interrupted,) = again.said.of(StreamInterrupted, name)
                assert interrupted.reason == "ingest was restarted"
                assert [m.lease for m in again.said.of(StreamOpened, name)] == [leases[name] + 1]
            assert all(len(one.said.of(StreamOpened, name)) <= 1 for name in NAMES)


async def test_what_a_former_life_held_is_given_back_where_it_is_for_another_now(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, instance="one", leaves=False, lease=600) as one:
        await configure([one])
        await until(lambda: held(one) == set(NAMES))
    async with (
        running(tmp_path, instance="two", lease=600) as two,
        running(tmp_path, instance="one", lease=600) as again,
    ):
        await configure([two, again])
        await until(lambda: held(two) == share("two", "one", "two"))
        await until(lambda: held(again) == share("one", "one", "two"))
        never_beside_each_other(one, two, again)


@pytest.mark.row("R25")
async def test_who_stalls_is_a_zombie_whose_words_have_a_lower_generation(tmp_path: Path) -> None:
    async with together(tmp_path, "one", "two", lease=SHORT) as (one, two):
        await configure([one, two])
        await until(lambda: held(one) | held(two) == set(NAMES))
        await until(lambda: held(two) == share("two", "one", "two"))
        zombies = held(two)
        one_turn, two.studio.leases.turn = two.studio.leases.turn, nothing  # type: ignore[method-assign]
        await until(lambda: held(one) == set(NAMES))
        said = {name: len(two.said.frames(name)) for name in zombies}
        await until(lambda: all(len(two.said.frames(name)) > said[name] + 3 for name in zombies))
        for name in zombies:
            newest = max(frame.lease for frame in one.said.frames(name))
            assert all(frame.lease < newest for frame in two.said.frames(name))
        two.studio.leases.turn = one_turn  # type: ignore[method-assign]
        await until(lambda: not held(two))
        # It renewed late: for a while nothing is handed back to it.
        await asyncio.sleep(SHORT)
        assert held(one) == set(NAMES)


async def nothing() -> None: ...


async def test_what_nobody_has_room_for_is_named(tmp_path: Path) -> None:
    async with (
        running(tmp_path, instance="one", room=2) as one,
        running(tmp_path, instance="two", room=2) as two,
    ):
        await configure([one, two])
        await until(lambda: len(held(one)) == 2 and len(held(two)) == 2)
        (left,) = set(NAMES) - held(one) - held(two)
        for each in (one, two):
            await until_check(each, "degraded", left, "VANTAGE_INGEST_MAX_CAMERAS")
        async with running(tmp_path, instance="three", room=2) as three:
            await configure([three])
            await until(lambda: held(one) | held(two) | held(three) == set(NAMES))
            for each in (one, two, three):
                await until_check(each, "healthy", "")
        never_beside_each_other(one, two, three)


async def until_check(one: Ingest, status: str, *words: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        health = await one.studio.leases.check()
        if health.status == status and all(word in health.reason for word in words):
            return
        assert time.monotonic() < deadline, health
        await asyncio.sleep(0.1)


async def test_of_two_with_one_name_the_newer_reads(tmp_path: Path) -> None:
    async with running(tmp_path, instance="main", leaves=False) as elder:
        await configure([elder])
        await until(lambda: held(elder) == set(NAMES))
        async with running(tmp_path, instance="main") as newer:
            await configure([newer])
            await until(lambda: held(newer) == set(NAMES) and not held(elder))
            await until_check(elder, "unhealthy", "VANTAGE_INSTANCE")
        await until(lambda: held(elder) == set(NAMES))
        await until_check(elder, "healthy", "")


async def test_one_of_them_says_that_a_camera_is_switched_off(tmp_path: Path) -> None:
    async with together(tmp_path, "one", "two") as (one, two):
        for each in (one, two):
            await each.configure(url=URL)
        await until(lambda: "yard" in held(one) | held(two))
        for each in (one, two):
            await each.configure(url=URL, enabled=False, version=2)
        await until(lambda: "disabled" in (one.state(), two.state()))
        await asyncio.sleep(2)
        states = await one.states()
        assert states.count("disabled") == 1
        assert states[-1] == "disabled"


@pytest.mark.row("R25")
@pytest.mark.chaos
async def test_members_that_come_and_go_never_read_beside_each_other(tmp_path: Path) -> None:
    async with running(tmp_path, instance="base", lease=SHORT) as base:
        await configure([base])
        everybody = [base]
        for turn in range(8):
            leaves = turn % 2 == 0
            async with running(
                tmp_path, instance=f"m{turn % 3}", leaves=leaves, lease=SHORT
            ) as other:
                everybody.append(other)
                await configure([other])
                await until(lambda other=other: held(base) | held(other) == set(NAMES))  # type: ignore[misc]
        await until(lambda: held(base) == set(NAMES))
    never_beside_each_other(*everybody)
