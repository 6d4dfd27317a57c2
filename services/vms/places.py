"""Which zones of a camera hold an object: its foot point against the zones as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.vms.store import cameras
from shared.vision.polygons import PreparedPolygon

if TYPE_CHECKING:
    from collections.abc import Collection

    from schemas.event import Box
    from shared.db.engine import Reader

Prepared = tuple[tuple[str, PreparedPolygon], ...]


class Places:
    """Zones of cameras, prepared once a document version."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Prepared]] = {}

    async def follow(self, reader: Reader, ids: Collection[str]) -> None:
        """Bring the zones of these cameras up to date."""
        for id, (version, zones) in (await cameras.zones(reader, ids)).items():
            if self._known.get(id, (None, ()))[0] != version:
                prepared = tuple((zone.name, PreparedPolygon(zone.points)) for zone in zones)
                self._known[id] = version, prepared

    def zones(self, camera: str, box: Box, size: tuple[int, int]) -> list[str]:
        """Names of the zones that hold the middle of the box's lower edge, by name."""
        _, prepared = self._known.get(camera, (None, ()))
        if not prepared or not size[0] or not size[1]:
            return []
        left, top, width, height = box
        x, y = (left + width / 2) / size[0], (top + height) / size[1]
        x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
        return sorted(name for name, polygon in prepared if polygon.contains(x, y))
