"""`vantage demo` as its user starts it: it ends by itself, and what came out is the ground truth."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.demo import Found, differences, staged
from shared.sim.scene import SECOND
from shared.sim.truth import Expected, truth

COMMAND = [sys.executable, "-m", "services.main", "demo"]


@pytest.mark.timeout(240)
def test_it_ends_by_itself_and_finds_everything(tmp_path: Path) -> None:
    environment = {**os.environ, "VANTAGE_TEST_DATA": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, "--seconds", "21", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=220,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/login#" in done.stdout
    assert "All as it should be." in done.stdout
    assert "incidents" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port), "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert "--port" in done.stderr


EXPECTED = [Expected("gate", 5 * SECOND, "p1"), Expected("door", 9 * SECOND, "p2")]


def test_the_same_does_not_differ() -> None:
    found = [Found("door", 9_400_000), Found("gate", 4_600_000)]
    assert differences(EXPECTED, found) == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([Found("gate", 5 * SECOND)], ["door: nothing at 9.0 s"]),
        (
            [Found("gate", 5 * SECOND), Found("door", 11 * SECOND)],
            ["door: nothing", "door: one at 11.0 s"],
        ),
        (
            [Found("gate", 5 * SECOND), Found("gate", 5_400_000), Found("door", 9 * SECOND)],
            ["gate: one at 5.4 s"],
        ),
        (
            [Found("gate", 5 * SECOND), Found("door", 9 * SECOND), Found("fence", 1 * SECOND)],
            ["fence: one at 1.0 s"],
        ),
    ],
)
def test_what_differs_is_named(found: list[Found], says: list[str]) -> None:
    wrong = differences(EXPECTED, found)
    assert len(wrong) == len(says)
    assert all(text.startswith(start) for text, start in zip(wrong, says, strict=True))


@pytest.mark.parametrize("seconds", range(8, 90, 11))
def test_a_demo_never_ends_where_an_incident_is_undecided(seconds: int) -> None:
    scene = staged(seconds)
    assert seconds - 10 <= scene.duration / SECOND <= seconds
    for expected in truth(scene):
        assert expected.at <= scene.duration - 1.4 * SECOND
