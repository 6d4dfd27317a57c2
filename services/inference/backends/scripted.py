"""Detections from a script instead of from what is seen, openly labelled `simulated`.

`scripted:sim?seed=7&duration=60` knows the simulated scene and reads its time from the picture; `noise=0.1`
moves boxes by that share of their size, varies scores and leaves out as many detections.
`scripted:FILE` answers with the rows of a file by event time: JSON lines as `vantage analyze` writes them, or
MOTChallenge text, whose frames need `?fps=`.
"""

from __future__ import annotations

import bisect
import hashlib
import random
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlencode

import msgspec

from schemas.events.detections_made import Detection
from services.inference.backends.port import DetectorFailed, Frame, Model, require_frames
from shared.errors import Invalid
from shared.sim.address import parse
from shared.sim.timestrip import read_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from schemas.event import Box
    from services.inference.backends.port import Options
    from shared.sim.scene import Scene

SECOND = 1_000_000
SCORE = 0.9
_LARGEST = 256 * 1024 * 1024


def load(script: str, options: Options) -> ScriptedDetector:
    """Open the script; every thread may ask it.

    Raises:
        Invalid: an unknown option, or a file that is no script.
    """
    name, _, query = script.partition("?")
    wishes = dict(parse_qsl(query, keep_blank_values=True))
    noise = Noise(share=_share(wishes.pop("noise", "0")), seed=wishes.get("seed", "7"))
    if name in ("", "sim"):
        scene = parse("sim://demo" + (f"?{urlencode(wishes)}" if wishes else "")).scene()
        model = Model(
            name="scripted:sim", labels=(scene.label,), parallel=options.parallel, simulated=True
        )
        return ScriptedDetector(model, SceneScript(scene), noise)
    rows = FileScript.read(Path(name).expanduser(), wishes.get("fps"))
    model = Model(
        name=f"scripted:{Path(name).name}",
        digest=rows.digest,
        labels=rows.labels,
        parallel=options.parallel,
        simulated=True,
    )
    return ScriptedDetector(model, rows, noise)


class Script(Protocol):
    """Who is to be seen in a frame."""

    def told(self, frame: Frame) -> Sequence[Detection]:
        """Everything in the frame, its boxes in pixels."""
        ...


class ScriptedDetector:
    """Answers as the script says, within the frame and what is asked for."""

    def __init__(self, model: Model, script: Script, noise: Noise) -> None:
        self.model = model
        self._script = script
        self._noise = noise

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        """See `Detector.detect`. Nothing is suppressed: a script says each object once."""
        require_frames(frames, self.model)
        return [
            [
                seen
                for seen in self._seen(frame)
                if seen.score >= threshold and (not classes or seen.label in classes)
            ]
            for frame in frames
        ]

    def close(self) -> None:
        """Nothing to give back."""

    def _seen(self, frame: Frame) -> list[Detection]:
        height, width = frame.pixels.shape[:2]
        told = self._noise.on(self._script.told(frame), frame.elapsed)
        seen = (_within(each, width, height) for each in told)
        return sorted((each for each in seen if each), key=lambda each: -each.score)


class SceneScript:
    """The simulated scene: its time is written in each of its pictures."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def told(self, frame: Frame) -> Sequence[Detection]:
        """Everybody in the yard.

        Raises:
            DetectorFailed: the picture carries no scene time.
        """
        time = read_time(frame.pixels)
        if time is None:
            raise DetectorFailed(
                "scripted:sim found no scene time in the picture; use it on sim:// cameras only"
            )
        height, width = frame.pixels.shape[:2]
        return [
            Detection(label=actor.label, score=SCORE, box=actor.pixels(width, height))
            for actor in self._scene.at(time)
        ]


class FileScript:
    """Rows of a file, found by event time since the stream was opened."""

    def __init__(
        self, rows: Mapping[int, Sequence[Detection]], *, apart: int, digest: str = ""
    ) -> None:
        self._times = sorted(rows)
        self._rows = rows
        self._apart = apart
        self.digest = digest
        self.labels = tuple(sorted({each.label for row in rows.values() for each in row}))

    @classmethod
    def read(cls, path: Path, fps: str | None) -> FileScript:
        """Read JSON lines or MOTChallenge text.

        Raises:
            Invalid: no such file, a line that is neither, or MOTChallenge text without `fps`.
        """
        if not path.is_file() or path.stat().st_size > _LARGEST:
            raise Invalid(f"there is no script {path}; name a file below 256 MiB", field="model")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()[:12]
        if data.lstrip().startswith(b"{"):
            rows = _Row.all(data, path)
            return cls(_by_time(rows), apart=_apart(rows, fps), digest=digest)
        if fps is None:
            raise Invalid(f"{path} has frames, no times; add ?fps=", field="model")
        apart = round(SECOND / _rate(fps))
        return cls(_by_frame(data, path, _rate(fps)), apart=apart, digest=digest)

    def told(self, frame: Frame) -> Sequence[Detection]:
        """The rows of the time nearest to the frame's, if it is the same frame."""
        place = bisect.bisect_left(self._times, frame.elapsed)
        near = self._times[max(0, place - 1) : place + 1]
        best = min(near, key=lambda time: abs(time - frame.elapsed), default=None)
        if best is None or 2 * abs(best - frame.elapsed) >= self._apart:
            return ()
        return self._rows[best]


class Noise:
    """Seeded: the same frame is always told in the same way."""

    def __init__(self, *, share: float, seed: str) -> None:
        self._share = share
        self._seed = seed

    def on(self, told: Iterable[Detection], elapsed: int) -> Iterable[Detection]:
        """The script with mistakes."""
        if not self._share:
            return told
        chance = random.Random(f"{self._seed}:{elapsed}")  # noqa: S311  # mistakes, not secrets
        return [self._moved(each, chance) for each in told if chance.random() >= self._share]

    def _moved(self, told: Detection, chance: random.Random) -> Detection:
        left, top, width, height = told.box
        wide, high = width * self._share / 2, height * self._share / 2
        box = (
            left + chance.uniform(-wide, wide),
            top + chance.uniform(-high, high),
            width + chance.uniform(-wide, wide),
            height + chance.uniform(-high, high),
        )
        score = min(1.0, max(0.0, told.score - chance.uniform(0, self._share)))
        return Detection(label=told.label, score=round(score, 4), box=box)


class _Row(msgspec.Struct):
    """A line of `detections.jsonl`."""

    frame: int
    time: float
    score: float
    box: tuple[float, float, float, float]
    label: str = msgspec.field(name="class")

    @classmethod
    def all(cls, data: bytes, path: Path) -> list[_Row]:
        try:
            return msgspec.json.Decoder(cls).decode_lines(data)
        except msgspec.DecodeError as error:
            raise Invalid(f"script {path}: {error}", field="model") from error


def _by_time(rows: Iterable[_Row]) -> dict[int, list[Detection]]:
    found: dict[int, list[Detection]] = {}
    for row in rows:
        seen = Detection(label=row.label, score=row.score, box=row.box)
        found.setdefault(round(row.time * SECOND), []).append(seen)
    return found


def _by_frame(data: bytes, path: Path, fps: float) -> dict[int, list[Detection]]:
    found: dict[int, list[Detection]] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            frame, _, *rest = (float(part) for part in line.split(","))
            box: Box = (rest[0], rest[1], rest[2], rest[3])
            score = rest[4] if 0 <= rest[4] <= 1 else 1.0
        except (ValueError, IndexError) as error:
            raise Invalid(f"script {path}, line {number}: {line[:80]!r}", field="model") from error
        time = round((frame - 1) * SECOND / fps)
        found.setdefault(time, []).append(Detection(label="person", score=score, box=box))
    return found


def _apart(rows: Sequence[_Row], fps: str | None) -> int:
    """Microseconds between two frames: as told, else as the rows show, else 40 ms."""
    if fps is not None:
        return round(SECOND / _rate(fps))
    frames = rows[-1].frame - rows[0].frame if rows else 0
    if frames <= 0:
        return SECOND // 25
    return max(1, round((rows[-1].time - rows[0].time) * SECOND / frames))


def _within(told: Detection, width: int, height: int) -> Detection | None:
    """The detection cut to the frame; None where nothing of it is left."""
    left, top, wide, high = told.box
    right, bottom = min(left + wide, float(width)), min(top + high, float(height))
    left, top = max(left, 0.0), max(top, 0.0)
    if not (right - left >= 0.5 and bottom - top >= 0.5):
        return None
    box = tuple(round(side, 2) for side in (left, top, right - left, bottom - top))
    return Detection(label=told.label, score=told.score, box=(box[0], box[1], box[2], box[3]))


def _share(text: str) -> float:
    return _number("noise", text, 0.0, 0.9)


def _rate(text: str) -> float:
    return _number("fps", text, 0.01, 1000.0)


def _number(name: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise Invalid(f"{name}={text} of the script: give {low:g} to {high:g}", field="model")
    return value
