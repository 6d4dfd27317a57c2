"""Our pipeline in one process: source, detection, durable log, tracks, rules, as `vantage analyze` composes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.cloudevents import JpegPicture
from schemas.event import Envelope
from schemas.events.camera_configured import CameraConfigured, Zone
from schemas.events.detections_made import DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from schemas.events.plan_decided import PlanDecided
from schemas.events.rule_defined import RuleDefined
from services.inference.backends import load
from services.inference.backends.port import Options
from services.inference.stage import DetectStage
from services.ingest.sources.file import open_source
from services.ingest.sources.port import Opening
from services.orchestrator.knowledge import Knowledge
from services.orchestrator.stage import CameraStage
from shared.bus.publisher import message
from shared.bus.sqlite import open_sqlite
from shared.images import Bitmap, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.pipeline import Watch
    from schemas.event import Picture
    from services.ingest.sources.port import Pixels

CAMERA = "bench"
ZONE = Zone(name="crossing", points=((0.15, 0.35), (0.8, 0.35), (0.8, 0.95), (0.15, 0.95)))
MATCHES = {
    "enters": {"enter": {"class": "person", "zone": "crossing"}},
    "dwells": {"dwell": {"class": "person", "zone": "crossing", "min": "3s"}},
}


async def pipeline(
    video: Path, model: Path, folder: Path, watch: Watch, *, commit: int, jpeg: bool = False
) -> tuple[dict[int, list[list[float]]], dict[str, float]]:
    """Every frame of the film; returns persons by frame number and the time spent."""
    detector = load(str(model), "onnx", Options())
    detect = DetectStage(plan_of=lambda _: _plan(), detector_of=lambda _: detector)
    camera = CameraStage(_knowledge())
    seen: dict[int, list[list[float]]] = {}
    waiting: list[Envelope] = []
    opened = 0
    async with open_sqlite(folder) as log:
        watch.start()
        for frame in _frames(video, jpeg=jpeg):
            for envelope in detect.run(frame):
                waiting.append(envelope)
                _note(envelope, seen)
            if len(waiting) == commit:
                await log.append([message(each) for each in waiting])
                opened += _perceive(camera, waiting)
                waiting = []
        await log.append([message(each) for each in waiting])
        opened += _perceive(camera, waiting)
        spent = watch.stop()
    assert opened, "the rules found nothing: they were not on"
    return seen, spent


def _perceive(camera: CameraStage, envelopes: list[Envelope]) -> int:
    """Tracks and rules; how many incident events followed."""
    return sum(len(camera.handle(each, now=0).incidents) for each in envelopes)


def _note(envelope: Envelope, seen: dict[int, list[list[float]]]) -> None:
    if isinstance(envelope.event, DetectionsMade):
        seen[envelope.event.seq] = [list(each.box) for each in envelope.event.detections]


def _frames(video: Path, *, jpeg: bool) -> Iterator[Envelope]:
    source = open_source(Opening(url=f"file://{video.resolve()}?rate=max"))
    for number, shot in enumerate(source.shots(), 1):
        pixels = shot.picture()
        event = FrameCaptured(
            camera=CAMERA,
            epoch=1,
            seq=number,
            captured_at=shot.offset,
            read_at=shot.offset,
            width=pixels.shape[1],
            height=pixels.shape[0],
            lease=1,
        )
        yield Envelope(
            id=f"frame-{number}",
            source="/bench",
            topic="frames",
            key=CAMERA,
            event=event,
            picture=_picture(pixels, jpeg=jpeg),
        )
    source.close()


def _picture(pixels: Pixels, *, jpeg: bool) -> Picture:
    return JpegPicture(encode(pixels)) if jpeg else Bitmap(pixels)


def _plan() -> PlanDecided:
    return PlanDecided(
        camera=CAMERA,
        classes=("person",),
        threshold=0.3,
        nms=0.45,
        rate=60,
        every_frame=True,
        plan_version=1,
        decided_at=0,
    )


def _knowledge() -> Knowledge:
    known = Knowledge()
    known.configure(
        CameraConfigured(
            camera=CAMERA,
            name="Benchmark",
            site="site",
            time_zone="UTC",
            url="file:///film.mp4",
            zones=(ZONE,),
            document_version=1,
            effective_at=0,
        )
    )
    for name, match in MATCHES.items():
        document = {
            "id": f"bench-{name}",
            "version": "1.0.0",
            "title": f"Somebody {name}",
            "status": "stable",
            "level": "medium",
            "scope": {"cameras": [CAMERA]},
            "match": match,
            "group_by": ["track"],
        }
        known.define(
            RuleDefined(
                rule=f"bench-{name}",
                revision=1,
                rule_version="1.0.0",
                rule_hash="",
                document=document,
                effective_at=0,
            )
        )
    return known
