"""The words between the service and its readers, and the memory they share."""

import os
import socket
import threading

import numpy as np
import pytest

from services.ingest.ring import Ring, make_file
from services.ingest.sources.port import Opening
from services.ingest.wire import Close, Ended, Failed, Open, Opened, Passed, commands, reports, send

OPENED = Opened(
    run=1,
    width=4,
    height=2,
    fps=5,
    period=200_000,
    codec="sim",
    live=False,
    slots=2,
    position=0,
    first_at=9,
)


def test_commands_arrive_whole_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    said = [
        Open(run, Opening(url="rtsp://u:p@h/" + "x" * 70_000), 5.0, (((0, 0), (1, 0), (1, 1)),))
        for run in range(3)
    ] + [Close(1)]

    def speak() -> None:
        with ours:
            for command in said:
                send(ours, command)

    speaker = threading.Thread(target=speak)
    speaker.start()
    with theirs:
        assert list(commands(theirs)) == said
    speaker.join()


def test_memory_comes_along_with_its_message() -> None:
    ours, theirs = socket.socketpair()
    file = make_file(4, 2, 2)
    ring = Ring(file, 4, 2, 2)
    with ours:
        send(ours, Passed(1, 0, 0, 1, 0))
        send(ours, OPENED, [file])
        send(ours, Failed(1, "timeout", "late"))
        send(ours, OPENED, [file])
        send(ours, Ended(1))
    os.close(file)
    with theirs:
        heard = list(reports(theirs))
    assert [type(report) for report, _ in heard] == [Passed, Opened, Failed, Opened, Ended]
    files = [found for _, found in heard if found is not None]
    assert len(files) == 2
    theirs_ring = Ring(files[1], 4, 2, 2)
    for found in files:
        os.close(found)
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    slot = ring.put(picture)
    assert np.array_equal(theirs_ring.copy(slot), picture)


def test_a_ring_is_full_until_something_is_taken() -> None:
    file = make_file(4, 2, 2)
    reader, service = Ring(file, 4, 2, 2), Ring(file, 4, 2, 2)
    os.close(file)
    picture = np.zeros((2, 4, 3), np.uint8)
    assert [reader.put(picture), reader.full, reader.put(picture), reader.full] == [
        0,
        False,
        1,
        True,
    ]
    service.took()
    assert not reader.full
    assert reader.put(picture) == 0
    assert reader.full


def test_a_copy_is_its_own() -> None:
    file = make_file(4, 2, 1)
    ring = Ring(file, 4, 2, 1)
    os.close(file)
    ring.put(np.full((2, 4, 3), 5, np.uint8))
    copy = ring.copy(0)
    ring.took()
    ring.put(np.full((2, 4, 3), 9, np.uint8))
    assert (copy == 5).all()


@pytest.mark.parametrize(
    ("garbage", "says"),
    [(b"\x00\x00\x00\x04abcd", "Expected"), (b"\x00\x00\x00\x02\x93\x01", "Expected")],
)
def test_garbled_words_are_an_error(garbage: bytes, says: str) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(garbage)
    with theirs, pytest.raises(ValueError, match=says):
        list(reports(theirs))
