"""Work is kept alive; work that keeps dying turns health red."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared import supervisor as module
from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.metrics import Metrics
from shared.supervisor import LOOP_ENDS, Supervisor


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.002)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def counting(
    calls: list[int], fails: int, reached: asyncio.Event, upto: int
) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        calls.append(1)
        if len(calls) >= upto:
            reached.set()
        if len(calls) <= fails:
            raise RuntimeError("password=canary broke")
        await asyncio.Event().wait()

    return run


async def test_work_that_fails_or_returns_is_started_again(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    calls: list[int] = []
    reached = asyncio.Event()
    supervisor.start("work", counting(calls, 2, reached, 3))
    await asyncio.wait_for(reached.wait(), 5)
    assert (await supervisor.check()).status == "healthy"
    await supervisor.stop()
    assert len(calls) == 3
    assert b'vantage_task_restarts_total{task="work"} 2.0' in metrics.exposition()


async def test_a_crash_loop_turns_health_red_and_names_the_work(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    reached = asyncio.Event()
    supervisor.start("broken", counting([], 1000, reached, LOOP_ENDS + 2))
    supervisor.start("sound", asyncio.Event().wait)  # type: ignore[arg-type]  # its answer is not looked at
    await asyncio.wait_for(reached.wait(), 5)
    health = await supervisor.check()
    await supervisor.stop()
    assert health.status == "unhealthy"
    assert "broken" in health.reason
    assert "sound" not in health.reason


async def test_restart_ends_the_current_run_and_begins_another(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    calls: list[int] = []
    first, second = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        calls.append(1)
        (first if len(calls) == 1 else second).set()
        await asyncio.Event().wait()

    supervisor.start("engine", run)
    await asyncio.wait_for(first.wait(), 5)
    supervisor.restart("engine", "lag without a commit")
    await asyncio.wait_for(second.wait(), 5)
    await supervisor.stop()
    assert len(calls) == 2


async def test_work_that_is_ending_is_left_to_end(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    ends: list[str] = []
    started, ending, again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run() -> None:
        if ends:
            again.set()
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.sleep(0.05)
            ends.append("cleaned up")

    supervisor.start("engine", run)
    await started.wait()
    supervisor.restart("engine", "lag without a commit")
    await ending.wait()
    supervisor.restart("engine", "lag without a commit")
    await asyncio.wait_for(again.wait(), 5)
    assert ends == ["cleaned up"]
    await supervisor.stop()


async def test_stop_waits_for_the_work_to_clean_up(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    supervisor.start("work", run)
    await started.wait()
    await supervisor.stop()
    assert cleaned.is_set()


async def test_two_works_cannot_share_a_name(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    supervisor.start("work", asyncio.Event().wait)  # type: ignore[arg-type]  # its answer is not looked at
    with pytest.raises(ValueError, match="work"):
        supervisor.start("work", asyncio.Event().wait)  # type: ignore[arg-type]  # never started
    await supervisor.stop()


async def test_work_that_waits_for_a_dependency_does_not_crash(metrics: Metrics) -> None:
    supervisor = Supervisor(SystemClock(), metrics.task_restarts)
    calls: list[int] = []
    reached = asyncio.Event()

    async def away() -> None:
        calls.append(1)
        if len(calls) > LOOP_ENDS + 2:
            reached.set()
        raise Unavailable("the database does not answer")

    supervisor.start("work", away)
    await asyncio.wait_for(reached.wait(), 5)
    assert (await supervisor.check()).status == "healthy"
    await supervisor.stop()
