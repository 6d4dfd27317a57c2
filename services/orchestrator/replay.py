"""The rule stage alone, on tracks from a file: which incidents would there have been?"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from schemas.events.incident_changes import IncidentOpened
from services.orchestrator.domain import incident_id
from shared.errors import Invalid
from shared.rules.across.ensemble import Ensemble
from shared.rules.document import Rule, load
from shared.rules.errors import RuleError
from shared.rules.scene import Scene
from shared.rules.values import Look, Match, Sighting
from shared.vision.mot import ORIGIN, Row

SECOND = 1_000_000
LABEL = "person"


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """What a track file does not say: frame size, frame rate, when frame 1 was, whose it is."""

    size: tuple[int, int]
    fps: Fraction
    start: int = 0
    camera: str = "source"
    site: str = "site"
    time_zone: str = "UTC"


def replay(rows: Iterable[Row], film: Film, documents: Iterable[object]) -> list[dict[str, Any]]:
    """The incidents of rules over tracks, as lines of `incidents.jsonl`.

    Frame n is at (n - 1) / fps; every frame up to the last named one was looked at in full. Rules apply whatever
    their scope and status say.

    Raises:
        Invalid: a rule cannot be loaded or names a place that its `defs` lack.
    """
    scene = Scene(camera=film.camera, site=film.site, time_zone=film.time_zone)
    ensemble = Ensemble({film.camera: scene}, everywhere(load_all(documents)))
    problems = [one for found in ensemble.refused.values() for one in found]
    if problems:
        raise RuleError(problems)
    matches = [match for look in looks(rows, film) for match in ensemble.look(film.camera, look)]
    return [
        line(match, incident_id(film.site, match), film.start)
        for match in [*matches, *ensemble.close()]
        if match.outcome == "opened"
    ]


def load_all(documents: Iterable[object]) -> list[Rule]:
    """Rules of a file.

    Raises:
        Invalid: one cannot be loaded, or two have the same id; the text says which.
    """
    rules: dict[str, Rule] = {}
    for number, document in enumerate(documents, start=1):
        try:
            rule = load(document)
        except RuleError as error:
            raise Invalid(f"rule {number}: {error}", field=error.field) from error
        if rule.id in rules:
            raise Invalid(f"rule {number}: the id {rule.id!r} stands twice; ids are unique")
        rules[rule.id] = rule
    return list(rules.values())


def everywhere(rules: Iterable[Rule]) -> list[Rule]:
    """The rules without their scope: a file is one camera, whatever it is called."""
    bare = []
    for rule in rules:
        scope = msgspec.structs.replace(rule.head.scope, cameras=())
        head = msgspec.structs.replace(rule.head, scope=scope)
        bare.append(msgspec.structs.replace(rule, head=head))
    return bare


def looks(rows: Iterable[Row], film: Film) -> Iterator[Look]:
    """The frames of a track file, empty ones too. Coordinates are taken as they stand in the file."""
    by_frame: dict[int, list[Row]] = {}
    born: dict[int, int] = {}
    for row in rows:
        by_frame.setdefault(row.frame, []).append(row)
        born[row.id] = min(row.frame, born.get(row.id, row.frame))
    period = max(1, round(SECOND / film.fps))
    for frame in range(1, max(by_frame, default=0) + 1):
        seen = tuple(
            Sighting(str(row.id), LABEL, _as_written(row), time_of(born[row.id], film))
            for row in by_frame.get(frame, ())
        )
        yield Look(at=time_of(frame, film), size=film.size, seen=seen, period=period)


def time_of(frame: int, film: Film) -> int:
    """Event time of a frame, from 1, to the nearest microsecond."""
    return film.start + int((frame - 1) * SECOND / film.fps + Fraction(1, 2))


def line(incident: Match | IncidentOpened, id: str, start: int) -> dict[str, Any]:
    """An incident as a line of `incidents.jsonl`; `matched_at` in seconds from the start."""
    match = incident
    rule = match.rule if isinstance(match, Match) else match.cause.rule
    said: dict[str, Any] = {
        "id": id,
        "rule": rule,
        "severity": match.severity,
        "camera": match.camera,
        "tracks": list(match.tracks),
    }
    if match.zone or not match.line:
        said["zone"] = match.zone
    if match.line:
        said["line"] = match.line
    return said | {"matched_at": (match.matched_at - start) / SECOND, "margin": match.margin}


def write_lines(lines: Iterable[dict[str, Any]], out: Path) -> None:
    """Write JSON lines; the file appears whole or not at all.

    Raises:
        Invalid: the folder is not there or cannot be written.
    """
    write_file(b"".join(msgspec.json.encode(one) + b"\n" for one in lines), out)


def write_file(content: bytes, out: Path) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        Invalid: the folder is not there or cannot be written.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise Invalid(f"out: {out} cannot be written; name a file in a folder that exists")
    try:
        _write_whole(content, out)
    except OSError as error:
        raise Invalid(
            f"out: {out} cannot be written: {error.strerror}; free space, or name another folder",
            field="out",
        ) from error


def _write_whole(content: bytes, out: Path) -> None:
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}-")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _as_written(row: Row) -> tuple[float, float, float, float]:
    left, top, width, height = row.box
    return left + ORIGIN, top + ORIGIN, width, height
