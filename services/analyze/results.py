"""What comes out of an analysis: files that appear together or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.events.detections_made import DetectionsMade
from schemas.events.incident_changes import IncidentOpened
from schemas.events.tracks_seen import TracksSeen
from services.orchestrator.replay import line
from shared.errors import Invalid
from shared.vision import mot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.event import Event
    from services.analyze.film import Film
    from services.analyze.overlay import Overlay
    from services.orchestrator.stage import Effects

SECOND = 1_000_000
LATER_EPOCH = 1_000_000
"""Ids of tracks born in a later epoch are that much higher in `tracks.txt`, so that none occurs twice."""


@contextlib.contextmanager
def drafts(out: Path) -> Iterator[Path]:
    """A folder for half-done files; they move to `out` at the end, if nothing went wrong.

    Raises:
        Invalid: the folder cannot be made or written.
    """
    created = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".analyze-") as name:
            yield Path(name)
            for path in sorted(Path(name).iterdir()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                path.replace(out / path.name)
    except OSError as error:
        raise Invalid(
            f"out: {out} cannot be written: {error.strerror}; free space, or name another folder",
            field="out",
        ) from error
    finally:
        if created:
            with contextlib.suppress(OSError):  # not empty: the results stay
                out.rmdir()


class Results:
    """Writes what the stages say of a film, as they say it. Pictures are drawn where there is an `overlay`."""

    def __init__(self, folder: Path, film: Film, overlay: Overlay | None) -> None:
        self._film = film
        self._overlay = overlay
        self._files = contextlib.ExitStack()
        self._detections, self._tracks, self._incidents = (
            self._files.enter_context((folder / name).open("wb"))
            for name in ("detections.jsonl", "tracks.txt", "incidents.jsonl")
        )
        self._folder = folder
        self._counts = {"looked": 0, "detections": 0, "incidents": 0}
        self._ids: set[str] = set()
        self._size = (0, 0)

    def take(self, event: Event | None, effects: Effects) -> None:
        """Write an event of `detections` and what followed from it."""
        if isinstance(event, DetectionsMade):
            self._write_detections(event)
        for envelope in effects.fast:
            if isinstance(envelope.event, TracksSeen):
                self._write_tracks(envelope.event)
        for envelope in effects.incidents:
            if isinstance(envelope.event, IncidentOpened):
                self._write_incident(envelope.event)

    def close(self) -> None:
        """No more will be written."""
        self._files.close()
        if self._overlay is not None:
            self._overlay.close()

    def summarise(self, source: str, model: str) -> dict[str, Any]:
        """Write `summary.json`; returns what is in it."""
        film, elapsed = self._film, self._film.watch.elapsed
        summary = {
            "source": source,
            "camera": film.camera,
            "model": model,
            "width": self._size[0],
            "height": self._size[1],
            "frames": film.read,
            "sent": len(film.places),
            **self._counts,
            "tracks": len(self._ids),
            "seconds": round(elapsed, 3),
            "frames_per_second": round(film.read / elapsed, 2),
            "stages": {name: round(spent, 3) for name, spent in film.watch.spent.items()},
        }
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        (self._folder / "summary.json").write_bytes(text + b"\n")
        return summary

    def _write_detections(self, event: DetectionsMade) -> None:
        frame, offset = self._film.places[event.epoch, event.seq]
        self._size = (event.width, event.height)
        self._counts["looked"] += event.coverage != "none"
        self._counts["detections"] += len(event.detections)
        for one in event.detections:
            said = {
                "frame": frame,
                "time": offset / SECOND,
                "class": one.label,
                "score": one.score,
                "box": one.box,
            }
            self._detections.write(msgspec.json.encode(said) + b"\n")

    def _write_tracks(self, event: TracksSeen) -> None:
        frame, offset = self._film.places[event.epoch, event.seq]
        seen = [one for one in event.tracks if not one.held]
        self._ids.update(one.track for one in seen)
        rows = [mot.Row(frame, self._number(one.track), one.box, one.score) for one in seen]
        self._tracks.write(mot.write(rows).encode())
        if self._overlay is not None and self._film.picture is not None:
            self._overlay.add(self._film.picture, event.tracks, offset)

    def _write_incident(self, opened: IncidentOpened) -> None:
        self._counts["incidents"] += 1
        said = line(opened, opened.incident, self._film.start)
        self._incidents.write(msgspec.json.encode(said) + b"\n")

    def _number(self, track: str) -> int:
        _, epoch, number = track.rsplit("-", 2)
        return (int(epoch) - self._film.first) * LATER_EPOCH + int(number)
