"""Children of a house are real processes: listened to, ended in order, and their logs kept within bounds."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from services.engines import children
from services.engines.children import Child, Ended, LogFile, Order, lines

WORKS = "import time; print('it works', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, lambda *_: 0)\nwhile True: print('it works', flush=True); time.sleep(1)"
WRONG = "import sys; print('Error: no such thing', file=sys.stderr); sys.exit(2)"
LOUD = "import sys; print('for people'); print('it works'); print('for the log', file=sys.stderr)"


def made(folder: Path, program: str, **more: object) -> tuple[Child, list[int], list[str]]:
    born: list[int] = []
    told: list[str] = []
    order = Order(
        name="toy", command=[sys.executable, "-c", program], environment={}, ready=b"it works",
        tell=told.append, aloud=False,
    )._replace(**more)  # type: ignore[arg-type]  # Order's own fields, by name  # fmt: skip
    return Child(order, LogFile(folder / "logs" / "toy.log"), born.append), born, told


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[None]:
    task = asyncio.create_task(child.run())
    try:
        async with asyncio.timeout(30):
            await child.ready.wait()
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_child_is_ready_when_it_says_so_and_gone_when_its_work_is_cancelled(
    tmp_path: Path,
) -> None:
    child, born, told = made(tmp_path, WORKS)
    async with running(child):
        assert told == ["it works"]
        assert psutil.pid_exists(born[0])
    assert not child.ready.is_set()
    assert not psutil.pid_exists(born[0])


async def test_who_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    child, born, _ = made(tmp_path, STUBBORN, patience=0.5)
    async with running(child):
        pass
    assert not psutil.pid_exists(born[0])


async def test_a_child_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    child, _, told = made(tmp_path, LOUD)
    with pytest.raises(Ended, match="status 0: for the log"):
        await child.run()
    assert told == ["for people", "it works"]
    assert (tmp_path / "logs" / "toy.log").read_text() == "for the log\n"
    assert not child.refused.done()


async def test_a_child_that_is_set_up_wrongly_says_why(tmp_path: Path) -> None:
    child, _, _ = made(tmp_path, WRONG)
    with pytest.raises(Ended):
        await child.run()
    assert child.refused.result() == "toy: no such thing"


async def test_a_child_that_never_works_is_given_up_and_one_that_once_worked_is_not(
    tmp_path: Path,
) -> None:
    program = "import sys; print('broken', file=sys.stderr); sys.exit(1)"
    never, _, _ = made(tmp_path, program)
    once, _, _ = made(tmp_path, f"print('it works'); {program}")
    for child in (never, once):
        for _ in range(children.TRIES):
            assert not child.refused.done()
            with pytest.raises(Ended):
                await child.run()
    assert never.refused.result() == "toy: broken"
    assert not once.refused.done()


async def test_what_outlives_a_child_with_its_pipes_open_holds_up_nothing(tmp_path: Path) -> None:
    program = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {WORKS!r}]).pid)"
    )
    child, _, told = made(tmp_path, program)
    async with asyncio.timeout(30):
        with pytest.raises(Ended):
            await child.run()
    psutil.Process(int(told[0])).send_signal(signal.SIGKILL)


def test_a_log_that_is_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LOG_BYTES", 20)
    log = LogFile(tmp_path / "logs" / "toy.log")
    for number in range(8):
        log.write(f"line {number}".encode())
    kept = sorted((tmp_path / "logs").iterdir())
    assert [path.name for path in kept] == ["toy.log", "toy.log.1"]
    assert "line 7" in kept[0].read_text() + kept[1].read_text()
    assert LogFile(tmp_path / "logs" / "toy.log")._size == kept[0].stat().st_size


async def test_lines_come_whole_however_they_are_cut() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"a\nb" + b"c" * 100_000 + b"\n\nend")
    stream.feed_eof()
    assert [line async for line in lines(stream)] == [b"a", b"b" + b"c" * 100_000, b"", b"end"]
