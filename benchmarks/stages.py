"""Our pipeline in one process: with detections on the durable log, and as `vantage analyze` runs it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.cloudevents import JpegPicture
from schemas.events.detections_made import DetectionsMade
from services.analyze.film import Film
from services.analyze.inputs import describe, know, open_detector, url_of
from services.analyze.results import Results
from services.analyze.stages import Stages
from services.analyze.watch import Watch as StageWatch
from services.inference.stage import DetectStage
from services.ingest.sources import open_source
from services.ingest.sources.port import Opening
from services.orchestrator.domain import plan
from services.orchestrator.stage import CameraStage
from shared.bus.publisher import message
from shared.bus.sqlite import open_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchmarks.pipeline import Watch
    from schemas.event import Envelope
    from schemas.events.camera_configured import CameraConfigured
    from services.inference.backends.port import Detector
    from services.orchestrator.knowledge import Knowledge
    from shared.bus.port import Log

CAMERA = "bench"
DETECT: dict[str, object] = {"every_frame": True, "rate": 60.0, "threshold": 0.3, "nms": 0.45}
CROSSING = [[0.15, 0.35], [0.8, 0.35], [0.8, 0.95], [0.15, 0.95]]
MATCHES: dict[str, dict[str, Any]] = {
    "enters": {"enter": {"class": "person", "zone": "crossing"}},
    "dwells": {"dwell": {"class": "person", "zone": "crossing", "min": "3s"}},
}

Answer = tuple[dict[int, list[list[float]]], dict[str, float]]


class Set:
    """What is set up before time is taken: the model, the camera with its zone, two rules."""

    def __init__(self, video: Path, model: Path, folder: Path) -> None:
        rules = folder / "rules.yaml"
        rules.write_bytes(msgspec.json.encode([_rule(name) for name in MATCHES]))
        site = folder / "site.yaml"
        site.write_bytes(msgspec.json.encode({"zones": {"crossing": CROSSING}}))
        self.folder = folder
        self.document: CameraConfigured = describe(CAMERA, url_of(str(video)), site, DETECT)
        self.knowledge: Knowledge = know(self.document, rules)
        self.detector: Detector = open_detector(self.document.detect, str(model), "onnx")

    def film(self) -> Film:
        source = open_source(Opening(url=self.document.url))
        return Film(source, self.document, epoch=1, start=0, watch=StageWatch())


def durable(video: Path, model: Path, folder: Path, watch: Watch, *, jpeg: bool = False) -> Answer:
    """Detections are made durable by twenty; tracks and rules follow from what is durable."""
    return asyncio.run(_durable(Set(video, model, folder), watch, commit=20, jpeg=jpeg))


def analyzed(video: Path, model: Path, folder: Path, watch: Watch) -> Answer:
    """What `vantage analyze --every-frame --rules --site` does, its files included."""
    subject = Set(video, model, folder)
    stages = Stages(subject.document, subject.knowledge, subject.detector, StageWatch())
    film = subject.film()
    watch.start()
    with closing(Results(folder, film, None)) as results:
        asyncio.run(stages.play(film, results, lambda _: None))
    spent = watch.stop()
    assert (folder / "incidents.jsonl").stat().st_size, "no incident: the rules were not on"
    seen: dict[int, list[list[float]]] = {number: [] for number in range(1, film.read + 1)}
    for line in (folder / "detections.jsonl").read_bytes().splitlines():
        row = msgspec.json.decode(line)
        seen[row["frame"]].append(row["box"])
    return seen, spent


async def _durable(subject: Set, watch: Watch, *, commit: int, jpeg: bool) -> Answer:
    wanted = plan(subject.document)
    detect = DetectStage(plan_of=lambda _: wanted, detector_of=lambda _: subject.detector)
    camera = CameraStage(subject.knowledge)
    made: list[Envelope] = []
    film = subject.film()
    async with open_sqlite(subject.folder / "log") as log:
        watch.start()
        perception = Perception(log, camera)
        said = 0
        for envelope in _sent(film.envelopes(), jpeg=jpeg):
            made += detect.run(envelope)
            if len(made) - said >= commit:
                await perception.follow(made[said:])
                said = len(made)
        await perception.follow(made[said:])
        opened = await perception.finish()
        spent = watch.stop()
    assert opened, "no incident: the rules were not on"
    looks = [each.event for each in made if isinstance(each.event, DetectionsMade)]
    return {look.seq: [list(one.box) for one in look.detections] for look in looks}, spent


class Perception:
    """Tracks and rules follow what is durable, one commit behind the detector: as live, nobody waits for a disk."""

    def __init__(self, log: Log, camera: CameraStage) -> None:
        self._log = log
        self._camera = camera
        self._made: list[Envelope] = []
        self._commit: asyncio.Task[Any] | None = None
        self._incidents = 0

    async def follow(self, made: list[Envelope]) -> None:
        """Perceive what the last call said, and have this made durable meanwhile."""
        await self._perceive()
        self._made = made
        self._commit = asyncio.create_task(self._log.append([message(each) for each in made]))
        await asyncio.sleep(0)  # the writing thread has it now

    async def finish(self) -> int:
        """Perceive the rest; how many incident events followed."""
        await self._perceive()
        return self._incidents

    async def _perceive(self) -> None:
        if self._commit is None:
            return
        await self._commit
        self._incidents += sum(
            len(self._camera.handle(each, now=0).incidents) for each in self._made
        )


def _sent(envelopes: Iterable[Envelope], *, jpeg: bool) -> Iterator[Envelope]:
    for envelope in envelopes:
        if jpeg and envelope.picture is not None:
            packed = JpegPicture(envelope.picture.jpeg())
            yield msgspec.structs.replace(envelope, picture=packed)
        else:
            yield envelope


def _rule(name: str) -> dict[str, Any]:
    return {
        "id": f"bench-{name}",
        "version": "1.0.0",
        "title": f"Somebody {name}",
        "status": "stable",
        "level": "medium",
        "scope": {"cameras": [CAMERA]},
        "match": MATCHES[name],
        "group_by": ["track"],
    }
