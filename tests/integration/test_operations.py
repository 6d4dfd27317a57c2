"""The tools of the log as an operator has them: commands beside a running server."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from shared.bus.sqlite import open_sqlite
from tests.contract.bus import garbage
from tests.engines import processes
from tests.integration.test_runtime_process import Server, once, start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway and a notifier on a log that holds an alert which nobody can digest."""
    folder = tmp_path_factory.mktemp("house") / "data"
    asyncio.run(prepare(folder / "log"))
    found = start(folder)
    yield found
    processes.end(found.process)


async def prepare(folder: Path) -> None:
    async with open_sqlite(folder) as log:
        await log.append([garbage(topics.ALERTS, "yard")])


def lines(server: Server, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said(server, *arguments).splitlines()]


def said(server: Server, *arguments: str) -> str:
    done = once(server.folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(server: Server, count: int, *arguments: str) -> list[dict[str, Any]]:
    """The lines of a list, once there are so many."""
    deadline = time.monotonic() + 60
    while len(found := lines(server, *arguments)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_a_dead_letter_is_found_shown_and_sent_back_once(server: Server) -> None:
    [letter] = until(server, 1, "dead-letters", "list", "--topic", "alerts")
    assert (letter["group"], letter["error"]) == ("notifier", "Undecodable")
    shown = json.loads(said(server, "dead-letters", "show", letter["place"]))
    assert shown["value"] == "{broken"
    assert json.loads(said(server, "dead-letters", "show", "bad"))["place"] == letter["place"]
    counted = said(server, "dead-letters", "replay", "--error", "Undecodable", "--dry-run")
    assert counted == "1 would go back: alerts, group notifier, Undecodable\n"
    sent = said(server, "dead-letters", "replay", "--yes")
    assert sent.endswith("1 went back: alerts, group notifier, Undecodable\n")
    first, second = until(server, 2, "dead-letters", "list")
    assert (first["place"], second["origin"]["offset"]) == (letter["place"], 1)
    assert first["replayed_at"]
    assert second["replayed_at"] is None
    again = said(server, "dead-letters", "replay", "--until", second["parked_at"], "--yes")
    assert again == "0 to go back\n1 went back before\n"


def test_consumers_are_listed_resumed_and_sent_back(server: Server) -> None:
    listed = {one["name"]: one for one in lines(server, "consumers", "list")}
    assert listed["notifier.notifier.0"]["topics"] == ["alerts"]
    assert listed["gateway.gateway-audit.0"]["kind"] == "group"
    assert (
        said(server, "consumers", "resume", "notifier.notifier.0")
        == "notifier.notifier.0 goes on\n"
    )
    unknown = once(server.folder, "consumers", "resume", "nobody")
    assert (unknown.returncode, "vantage consumers list" in unknown.stderr) == (1, True)
    back = said(server, "replay", "--group", "gateway-audit", "--yes")
    assert "gateway-audit hears" in back


def test_the_audit_trail_tells_of_both_and_holds(server: Server) -> None:
    said(server, "user", "add", "bob")
    until(server, 1, "audit", "list", "--action", "user.added", "--actor", "owner")
    actions = {one["action"] for one in lines(server, "audit", "list", "--limit", "500")}
    assert actions >= {"user.added", "sign-in-link.made"}
    indexes = [one["index"] for one in lines(server, "audit", "list", "--limit", "500")]
    assert indexes == list(range(len(indexes), 0, -1))
    assert "entries hold" in said(server, "audit", "verify")
    wrong = once(server.folder, "audit", "list", "--since", "noon")
    assert (wrong.returncode, "RFC 3339" in wrong.stderr) == (1, True)
