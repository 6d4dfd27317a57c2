"""A film as ingest says it on `frames`: sampled, masked, with motion, marks and heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import topics
from schemas.event import Envelope
from schemas.events.frame_captured import FrameCaptured
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamOpened
from services.ingest.domain import Times
from services.ingest.masks import Masks
from services.ingest.motion import Motion
from services.ingest.orders import polygons
from services.ingest.sampling import Sampler
from shared.images import Bitmap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.event import Event
    from schemas.events.camera_configured import CameraConfigured
    from services.analyze.watch import Watch
    from services.ingest.sources.port import Pixels, Shot, Source

SOURCE = "/vantage/analyze"
LEASE = 1


class Film:
    """One pass of a source as ingest says it: sampled, masked, with motion, marks and heartbeats.

    `read`: pictures read. `places`: number of the picture (from 1) and its offset by (epoch, seq) of its frame.
    `picture`: the last one said.
    """

    def __init__(
        self, source: Source, document: CameraConfigured, *, epoch: int, start: int, watch: Watch
    ) -> None:
        self.read = 0
        self.places: dict[tuple[int, int], tuple[int, int]] = {}
        self.picture: Pixels | None = None
        self.first = self.epoch = epoch
        self.start = start
        self.watch = watch
        self.camera = document.camera
        self._source = source
        self._document = document
        # Every frame means every frame, whatever the source's rate is.
        rate = max(document.detect.rate, source.fps or 1000.0)
        self._rate = rate if document.detect.every_frame else document.detect.rate
        self._times: Times | None = None
        self._size = (0, 0)
        self._seq = self._base = 0

    def envelopes(self) -> Iterator[Envelope]:
        """What ingest would say on `frames`, in order.

        Raises:
            SourceError: the source cannot be read any more.
        """
        shots = self._source.shots()
        while (shot := self.watch.of("decode", next, shots, None)) is not None:
            if self.read and shot.begins:
                break
            self.read += 1
            if self._times is None or self._sampler.take(shot.offset - self._base):
                yield from self._frame(shot, self.watch.of("decode", shot.picture))
        if self._times is not None:
            said = StreamClosed(
                camera=self.camera,
                epoch=self.epoch,
                closed_at=self._times.last,
                lease=LEASE,
                reason="it has been played to its end",
            )
            yield self._say("closed", said)

    def _frame(self, shot: Shot, picture: Pixels) -> Iterator[Envelope]:
        height, width = picture.shape[:2]
        if (width, height) != self._size or self._times is None:
            yield self._open(width, height, shot)
        assert self._times is not None  # noqa: S101 - set by _open
        offset = shot.offset - self._base
        at = self._times.capture(offset)
        camera, epoch = self.camera, self.epoch
        for beat in self._times.beats(at):
            alive = StreamAlive(camera=camera, epoch=epoch, alive_at=beat, lease=LEASE)
            yield self._say(f"alive-{beat}", alive)
        self._masks.burn(picture)
        # Every frame is looked at in full: nobody would ask where something moved.
        still = self._document.detect.every_frame
        motion = () if still else self.watch.of("motion", self._motion.update, picture, offset)
        self._seq += 1
        self.picture = picture
        self.places[epoch, self._seq] = (self.read, shot.offset)
        said = FrameCaptured(
            camera=camera,
            epoch=epoch,
            seq=self._seq,
            captured_at=at,
            read_at=at,
            width=width,
            height=height,
            lease=LEASE,
            motion=motion,
        )
        yield self._say(str(self._seq), said, picture)

    def _open(self, width: int, height: int, shot: Shot) -> Envelope:
        """The first frame, and one of another size, begins an epoch."""
        opened_at = self.start
        if self._times is not None:
            opened_at = max(self.start + shot.offset, self._times.last + 1)
            self.epoch += 1
        self._times, self._size, self._seq = Times(opened_at), (width, height), 0
        self._base = shot.offset
        privacy, still = polygons(self._document)
        self._masks = Masks(privacy, width, height)
        self._motion = Motion(width, height, (*still, *self._source.still))
        self._sampler = Sampler(self._rate, self._source.fps)
        self._sampler.take(0)
        said = StreamOpened(
            camera=self.camera,
            epoch=self.epoch,
            opened_at=opened_at,
            lease=LEASE,
            width=width,
            height=height,
            period=self._sampler.period,
        )
        return self._say("opened", said)

    def _say(self, name: str, event: Event, picture: Pixels | None = None) -> Envelope:
        return Envelope(
            id=f"{self.camera}-{self.epoch}-{name}",
            source=SOURCE,
            topic=topics.FRAMES.name,
            key=event.key,
            event=event,
            picture=Bitmap(picture) if picture is not None else None,
        )
