"""What a house of processes is made of: who, where, how many, and what each is told."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.engines.house import House, keep, members, parse_replicas
from services.engines.kafka import Kafka
from services.engines.places import free_port, open_place
from services.engines.postgres import Postgres
from services.engines.redis import Redis
from services.main import SERVICES
from shared.errors import Setup
from shared.settings import Configuration, PlatformSettings
from tests.engines import processes

NAMES = list(SERVICES)


def settings(folder: Path, **values: object) -> PlatformSettings:
    return PlatformSettings.model_validate({"data_dir": folder, "port": 0, **values})


def house(folder: Path, replicas: str = "", **values: object) -> House:
    chosen = settings(folder, **values)
    everybody = members(NAMES, parse_replicas(replicas, NAMES), chosen)
    return House(Configuration(), chosen, everybody)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("inference=2", {"inference": 2}),
        (" inference=2, orchestrator=3 ,", {"inference": 2, "orchestrator": 3}),
    ],
)
def test_replicas_are_read(text: str, found: dict[str, int]) -> None:
    assert parse_replicas(text, NAMES) == found


@pytest.mark.parametrize(
    "text", ["nobody=2", "vms", "vms=", "vms=0", "vms=-1", "vms=1.5", "vms=99"]
)
def test_replicas_that_do_not_read_are_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(Setup, match=r"--replicas: .*(there are|write a number)"):
        parse_replicas(text, NAMES)


def test_every_process_has_a_name_and_a_port_of_its_own(tmp_path: Path) -> None:
    found = house(tmp_path, "orchestrator=2,gateway=2").members
    assert {one.service for one in found} == set(NAMES)
    assert [one.name for one in found if one.service == "orchestrator"] == [
        "orchestrator-main",
        "orchestrator-main-2",
    ]
    assert len({one.name for one in found}) == len({one.port for one in found}) == len(NAMES) + 2
    (door,) = [one for one in members(NAMES, {}, settings(tmp_path, port=8123)) if one.port == 8123]
    assert door.name == "gateway-main"


def test_each_is_told_where_the_others_are_and_only_the_gateways_who_stands_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PORT": "9", "TOKEN": "t", "NOTIFIER_TIMEOUT": "3"}.items():
        monkeypatch.setenv(f"VANTAGE_{name}", value)
    one = house(tmp_path, "vms=2")
    told = {member.name: one._environment(member) for member in one.members}
    door = next(member for member in one.members if member.service == "gateway")
    for name, environment in told.items():
        assert environment["VANTAGE_GATEWAY_URL"] == f"http://127.0.0.1:{door.port}"
        assert environment["VANTAGE_INSTANCE"] == name.partition("-")[2]
        assert environment["VANTAGE_NOTIFIER_TIMEOUT"] == "3"
        assert not {"VANTAGE_PORT", "VANTAGE_TOKEN"} & environment.keys()
    behind = told["gateway-main"]["VANTAGE_GATEWAY_UPSTREAMS"].split(",")
    assert len(behind) == len(NAMES)  # all but the gateway, vms twice
    assert "VANTAGE_GATEWAY_UPSTREAMS" not in told["vms-main"]


def test_tls_is_refused_with_the_other_way(tmp_path: Path) -> None:
    chosen = settings(tmp_path, tls_cert=tmp_path / "c", tls_key=tmp_path / "k")
    with pytest.raises(Setup, match=r"VANTAGE_TLS_CERT.*docs/services\.md"):
        keep(Configuration(), chosen, NAMES, {})


@pytest.mark.parametrize("engine", [Kafka(), Postgres(), Redis()])
def test_a_missing_engine_is_named_with_how_to_get_it(
    engine: Kafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("services.engines.postgres.DEBIAN", tmp_path)
    assert re.search(r"apt-get install \S+.*`make engines`", engine.missing())


def test_kafka_without_its_jars_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VANTAGE_ENGINES_DIR", str(tmp_path))
    assert "make engines" in Kafka().missing()


def test_an_engine_keeps_its_port_until_somebody_else_has_it(tmp_path: Path) -> None:
    place, runs = open_place(tmp_path / "toy")
    assert not runs
    process = processes.spawn([sys.executable, "-c", "input()"], log=tmp_path / "log")
    place.remember(process.pid)
    processes.kill(process)
    again, runs = open_place(tmp_path / "toy")
    assert (again.port, runs) == (place.port, False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        moved, runs = open_place(tmp_path / "toy")
    assert moved.port != place.port
    assert not runs


def test_free_ports_differ_and_no_client_is_given_one() -> None:
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    found = [free_port() for _ in range(50)]
    assert len(set(found)) == len(found)
    assert max(found) < lowest


def test_an_engine_that_runs_there_is_found_and_one_that_ends_is_waited_for(tmp_path: Path) -> None:
    place, _ = open_place(tmp_path / "toy")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        place.remember(process.pid)
        found, runs = open_place(tmp_path / "toy", dying_s=0.2)
        assert (found.port, runs) == (place.port, True)
        process.kill()
        started = time.monotonic()
        _, runs = open_place(tmp_path / "toy", dying_s=60)
        assert not runs
        assert time.monotonic() - started < 60


def test_a_password_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    place, _ = open_place(tmp_path / "toy")
    assert place.password() == place.password()
    assert (tmp_path / "toy" / "password").stat().st_mode & 0o777 == 0o600
