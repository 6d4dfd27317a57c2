"""`vantage track`: the tracker alone, with its live defaults, on a MOTChallenge detection file."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from services.orchestrator.cli import parse_rate
from services.orchestrator.replay import write_file
from shared.errors import Invalid
from shared.vision import mot
from shared.vision.boxes import to_ltrb
from shared.vision.mot import Row
from shared.vision.tracker import Tracker

SECOND = 1_000_000
LABEL = "person"
FASTEST = 1000
LONGEST = 10_000_000
"""Frames: four days at 25 a second. Beyond that a frame number is a slip."""

app = typer.Typer()


@app.command("track")
def track_file(
    detections: Annotated[Path, typer.Argument(help="Detections in MOTChallenge text.")],
    out: Annotated[Path, typer.Option(help="Where the tracks go, in MOTChallenge text.")],
    fps: Annotated[str, typer.Option(help="Frames a second, e.g. 25 or 30000/1001.")] = "15",
) -> None:
    """Track the detections of a file, online and with the settings that live cameras have."""
    if not detections.is_file():
        raise Invalid(
            f"detections: {detections} is no file; name a MOTChallenge text", field="detections"
        )
    rows = mot.parse(detections.read_text(encoding="utf-8", errors="replace"), name=str(detections))
    require_plausible(rows, name=str(detections))
    found = list(track(rows, parse_rate(fps)))
    write_file(mot.write(found).encode(), out)
    ids = len({row.id for row in found})
    typer.echo(f"{ids} tracks in {len(found)} rows, written to {out}")


def track(rows: list[Row], fps: Fraction) -> Iterator[Row]:
    """Tracks of detections, frame by frame, by id within a frame. Frame n is at (n - 1) / fps.

    Raises:
        Invalid: the frame rate is too high to tell frames apart.
    """
    if fps > FASTEST:
        raise Invalid(f"fps: {float(fps):g} is too fast; give at most {FASTEST}", field="fps")
    by_frame: dict[int, list[Row]] = {}
    for row in rows:
        by_frame.setdefault(row.frame, []).append(row)
    tracker = Tracker()
    tracker.open(epoch=1, at=0, size=(1, 1))
    for frame in range(1, max(by_frame, default=0) + 1):
        seen = by_frame.get(frame, [])
        ltwh = np.array([row.box for row in seen], dtype=np.float64).reshape(-1, 4)
        scores = np.array([row.score for row in seen], dtype=np.float64)
        at = round((frame - 1) * SECOND / fps)
        for one in tracker.update(at, to_ltrb(ltwh), scores, [LABEL] * len(seen)):
            yield Row(frame, one.number, one.box, one.score)


def require_plausible(rows: list[Row], *, name: str) -> None:
    """Refuse what the format allows and the tracker cannot use.

    Raises:
        Invalid: a confidence that is no probability, or a frame number beyond reason.
    """
    for row in rows:
        if not 0.0 <= row.score <= 1.0:
            raise Invalid(
                f"{name}: frame {row.frame} has the confidence {row.score:g}; "
                "the tracker needs 0 to 1: scale the column, or write 1 where nothing is known",
                field="confidence",
            )
        if row.frame > LONGEST:
            raise Invalid(
                f"{name}: frame {row.frame} is beyond {LONGEST}; correct the first column",
                field="frame",
            )
