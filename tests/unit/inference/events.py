"""Envelopes of `frames` for tests: a camera, its marks and its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemas.event import Envelope, Event
from schemas.events.frame_captured import FrameCaptured
from schemas.events.plan_decided import PlanDecided
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamOpened
from shared.images import Bitmap

if TYPE_CHECKING:
    from schemas.event import Box, Picture

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
PERIOD = 200_000
WIDTH, HEIGHT = 1280, 720


def frame(
    seq: int,
    *,
    camera: str = "yard",
    epoch: int = 1,
    lease: int = 1,
    motion: tuple[Box, ...] = (),
    picture: Picture | None = None,
    read_at: int | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Envelope:
    """Frame number `seq`, five a second from START on."""
    at = START + (seq - 1) * PERIOD
    event = FrameCaptured(
        camera=camera,
        epoch=epoch,
        seq=seq,
        captured_at=at,
        read_at=at if read_at is None else read_at,
        width=size[0],
        height=size[1],
        lease=lease,
        motion=motion,
    )
    shown = picture or Bitmap(np.zeros((size[1], size[0], 3), np.uint8))
    return envelope(event, f"{camera}-{epoch}-{lease}-{seq}", shown)


def opened(*, camera: str = "yard", epoch: int = 1, lease: int = 1, at: int = START) -> Envelope:
    event = StreamOpened(
        camera=camera,
        epoch=epoch,
        opened_at=at,
        lease=lease,
        width=WIDTH,
        height=HEIGHT,
        period=PERIOD,
    )
    return envelope(event, f"{camera}-{epoch}-opened")


def alive(second: int, *, camera: str = "yard", epoch: int = 1, lease: int = 1) -> Envelope:
    at = START + second * SECOND
    event = StreamAlive(camera=camera, epoch=epoch, alive_at=at, lease=lease)
    return envelope(event, f"{camera}-{epoch}-alive-{second}")


def closed(*, camera: str = "yard", epoch: int = 1, lease: int = 1, at: int = START) -> Envelope:
    event = StreamClosed(camera=camera, epoch=epoch, closed_at=at, lease=lease, reason="end")
    return envelope(event, f"{camera}-{epoch}-closed")


def envelope(event: Event, id: str, picture: Picture | None = None) -> Envelope:
    return Envelope(
        id=id, source="/test", topic="frames", key=event.key, event=event, picture=picture
    )


def plan(
    camera: str = "yard",
    *,
    rate: float = 5.0,
    every_frame: bool = False,
    model: str = "",
    backend: str = "",
    version: int = 3,
    classes: tuple[str, ...] = (),
    threshold: float = 0.4,
) -> PlanDecided:
    return PlanDecided(
        camera=camera,
        model=model,
        backend=backend,
        classes=classes,
        threshold=threshold,
        rate=rate,
        every_frame=every_frame,
        plan_version=version,
        decided_at=START,
    )
