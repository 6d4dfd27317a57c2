"""Log files: rights, rotation, redaction, and reading those of many processes by time while they are written."""

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from shared import telemetry
from shared.errors import Invalid, Setup
from shared.logs.files import Journal, LogFile, Wanted, since

CANARY = "canary-horse-7f3a9"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def logged(folder: Path) -> Iterator[Path]:
    """Whatever is logged goes to a file, too; as it was before when the test ends."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    path = folder / "vantage-main.jsonl"
    with Path(os.devnull).open("w") as nowhere:
        telemetry.configure(level="INFO", stream=nowhere)
        file = LogFile(path, size=2000, count=3)
        telemetry.keep(file, process="vantage", instance="main")
        yield path
        file.close()
    root.handlers[:], root.level = handlers, level
    structlog.configure(**before)


def write(path: Path, *lines: tuple[str, str], **more: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        for time, event in lines:
            data = {"timestamp": f"2026-11-26T12:00:{time}Z", "level": "info", "event": event}
            file.write(json.dumps({**data, **more}) + "\n")


def events(folder: Path, **wanted: str) -> list[str]:
    with Journal(folder) as journal:
        return [str(line.data["event"]) for line in journal.read(Wanted(**wanted))]


def test_the_tries_of_the_kafka_client_are_for_who_asks(logged: Path) -> None:
    client = logging.getLogger("aiokafka.consumer.group_coordinator")
    client.error("Group Coordinator Request failed: %s", "[Error 15]")
    try:
        raise AssertionError
    except AssertionError:
        client.exception("Unexpected error in coordinator routine")
    telemetry.set_level("DEBUG")
    client.error("Heartbeat session expired")
    said = [json.loads(line)["event"] for line in logged.read_text().splitlines()]
    assert said == ["Unexpected error in coordinator routine", "Heartbeat session expired"]


def test_a_file_is_its_owners_alone_and_holds_no_secret(logged: Path) -> None:
    structlog.get_logger().warning("opening", url=f"rtsp://u:{CANARY}@cam/", password=CANARY)
    logging.getLogger("some.library").warning("cannot open %s", f"rtsp://u:{CANARY}@cam/")
    assert logged.stat().st_mode & 0o777 == 0o600
    assert logged.parent.stat().st_mode & 0o777 == 0o700
    first, second = (json.loads(line) for line in logged.read_text().splitlines())
    assert (first["event"], first["process"], first["instance"]) == ("opening", "vantage", "main")
    assert second["logger"] == "some.library"
    assert CANARY not in logged.read_text()


def test_a_full_file_is_rotated_and_so_many_are_kept(logged: Path) -> None:
    for number in range(200):
        structlog.get_logger().info("line", number=number)
    names = sorted(path.name for path in logged.parent.iterdir())
    assert names == [logged.name, *(f"{logged.name}.{number}" for number in (1, 2, 3))]
    assert all(path.stat().st_size <= 2000 for path in logged.parent.iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in logged.parent.iterdir())
    with Journal(logged.parent) as journal:
        numbers = [line.data["number"] for line in journal.read(Wanted())]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 40


def test_the_level_counts_at_once_and_for_loggers_that_are_there_already(logged: Path) -> None:
    log = structlog.get_logger()
    log.debug("not yet")
    telemetry.set_level("DEBUG")
    log.debug("now")
    logging.getLogger("httpx").info("never")
    telemetry.set_level("ERROR")
    log.info("no more")
    assert [json.loads(line)["event"] for line in logged.read_text().splitlines()] == ["now"]


def test_lines_of_all_processes_are_merged_by_time(folder: Path) -> None:
    write(folder / "ingest-a.jsonl.1", ("01.000001", "one"))
    write(folder / "ingest-a.jsonl", ("04.000001", "four"), ("06", "six"))
    write(folder / "notifier-a.jsonl.2", ("02.5", "two"))
    write(folder / "notifier-a.jsonl.1", ("03.000001", "three"))
    write(folder / "notifier-a.jsonl", ("05.000001", "five"))
    write(folder / "notifier-a.jsonl.old", ("00.000001", "no log of ours"))
    assert events(folder) == ["one", "two", "three", "four", "five", "six"]
    assert events(folder, since="2026-11-26T12:00:04.000001") == ["four", "five", "six"]


def test_lines_are_found_by_correlation_by_trace_and_by_level(folder: Path) -> None:
    write(folder / "a-main.jsonl", ("01", "mine"), correlation="yard-1-25")
    write(folder / "b-main.jsonl", ("02", "traced"), trace_id="abc", level="warning")
    write(folder / "b-main.jsonl", ("03", "other"), correlation="yard-1-26")
    assert events(folder, correlation="yard-1-25") == ["mine"]
    assert events(folder, correlation="abc") == ["traced"]
    assert events(folder, level="WARNING") == ["traced"]
    assert events(folder, correlation="yard-1") == []


def test_what_a_kill_cut_is_passed_over(folder: Path) -> None:
    write(folder / "a-main.jsonl", ("01", "whole"))
    with (folder / "a-main.jsonl").open("ab") as file:
        file.write(b'{"timestamp": "2026-11-26T12:0\n[1]\n\xff\xfe\n\n')
    write(folder / "a-main.jsonl", ("02", "after"))
    assert events(folder) == ["whole", "after"]


def test_no_folder_is_no_lines(folder: Path) -> None:
    assert events(folder) == []


def test_following_goes_on_over_rotations_halves_and_new_processes(folder: Path) -> None:
    path = folder / "a-main.jsonl"
    write(path, ("01", "first"))
    with Journal(folder) as journal:
        assert [line.data["event"] for line in journal.read(Wanted())] == ["first"]
        write(path, ("02", "second"))
        path.rename(f"{path}.1")
        assert [line.data["event"] for line in journal.more(Wanted())] == ["second"]
        write(path, ("03", "third"))
        write(folder / "b-main.jsonl", ("04", "fourth"))
        with path.open("a") as file:
            file.write('{"timestamp": "2026-11-26T12:00:05Z",')
        found = [line.data["event"] for line in journal.more(Wanted())]
        assert found == ["third", "fourth"]
        with path.open("a") as file:
            file.write(' "event": "fifth"}\n')
        assert [line.data["event"] for line in journal.more(Wanted())] == ["fifth"]
        assert journal.more(Wanted()) == []


def test_since_is_a_time_or_so_long_ago() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert since("90m", now) == "2026-11-26T10:30:00.000000"
    assert since("1d", now) == "2026-11-25T12:00:00.000000"
    assert since("2026-11-26T13:00:00+01:00", now) == "2026-11-26T12:00:00.000000"
    with pytest.raises(Invalid, match="--since 'yesterday'"):
        since("yesterday", now)


def test_a_place_that_cannot_be_written_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(Setup, match="VANTAGE_LOG_FILES=0"):
        LogFile(tmp_path / "logs" / "vantage-main.jsonl", size=1000, count=1)


def test_a_disk_that_is_full_harms_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    (folder / "full-main.jsonl").symlink_to("/dev/full")
    file = LogFile(folder / "full-main.jsonl", size=0, count=1)
    for _ in range(10):
        file.emit(logging.LogRecord("x", logging.INFO, __file__, 1, "line", None, None))
    file.close()
    assert capsys.readouterr().err == ""
