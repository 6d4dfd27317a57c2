"""What brokers are told, alone and as one of three; and data that cannot be made."""

from pathlib import Path

import pytest

from services.engines import kafka
from services.engines.kafka import Kafka
from services.engines.places import Place
from shared.errors import Setup


def test_a_broker_alone_asks_nobody_else(tmp_path: Path) -> None:
    place = Place(tmp_path, 9092)
    found = kafka.properties(place, {1: 9093})
    assert found["controller.quorum.voters"] == "1@127.0.0.1:9093"
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert found["log.dirs"] == str(tmp_path / "data")
    assert {found[name] for name in found if name.endswith("replication.factor")} == {"1"}
    assert found["transaction.state.log.min.isr"] == "1"


def test_one_of_three_copies_to_all_and_goes_on_with_two(tmp_path: Path) -> None:
    found = kafka.properties(Place(tmp_path, 9092), {1: 81, 2: 82, 3: 83}, node=2)
    assert found["node.id"] == "2"
    assert found["controller.quorum.voters"] == "1@127.0.0.1:81,2@127.0.0.1:82,3@127.0.0.1:83"
    assert found["listeners"].endswith("CONTROLLER://127.0.0.1:82")
    assert {found[name] for name in found if name.endswith("replication.factor")} == {"3"}
    assert found["transaction.state.log.min.isr"] == "2"


def test_settings_are_one_a_line(tmp_path: Path) -> None:
    kafka.write_properties(Place(tmp_path, 9092), {"node.id": "1", "num.io.threads": "4"})
    assert (tmp_path / "server.properties").read_text() == "node.id=1\nnum.io.threads=4\n"


def test_memory_is_as_asked_for(tmp_path: Path) -> None:
    command = kafka.broker(Place(tmp_path, 9092), heap=256)
    assert command[1:3] == ["-Xms128m", "-Xmx256m"]
    assert "-Xmx512m" in Kafka().command(Place(tmp_path, 9092))


def test_data_that_cannot_be_made_are_said_with_their_place_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\necho no room left >&2\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Setup, match=f"cannot make its data in {tmp_path / 'data'}: no room left"):
        kafka.make_data(Place(tmp_path, 9092))
