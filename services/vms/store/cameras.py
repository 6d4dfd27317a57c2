"""The site and its cameras, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import insert, select, update

from schemas.events.camera_configured import Detect, Line, Mask, Zone
from services.vms.domain import Camera, Site
from services.vms.models import CAMERAS, SITE
from shared.db.base import insert_new

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import RowMapping

    from shared.db.engine import Reader, Transaction

_JSON = ("zones", "lines", "masks", "detect")


async def ensure_site(tx: Transaction, site: Site, *, now: int) -> None:
    """Make the site at the first start; later ones leave it alone."""
    await tx.alone("site")
    if (await tx.execute(select(SITE.c.id).limit(1))).first() is None:
        await tx.execute(insert_new(SITE), _site_row(site, now))


async def site(reader: Reader) -> Site:
    """The site."""
    row = (await reader.execute(select(SITE.c.id, SITE.c.name, SITE.c.time_zone))).mappings().one()
    return Site(**row)


async def change_site(tx: Transaction, changed: Site, *, now: int) -> None:
    """Write the site's name and time zone."""
    await tx.execute(update(SITE).where(SITE.c.id == changed.id).values(**_site_row(changed, now)))


async def cameras(reader: Reader) -> list[Camera]:
    """All cameras by name."""
    found = await reader.execute(
        select(CAMERAS).where(CAMERAS.c.removed_at.is_(None)).order_by(CAMERAS.c.name, CAMERAS.c.id)
    )
    return [_camera(row) for row in found.mappings()]


async def camera(reader: Reader, id: str) -> Camera | None:
    """One camera, or None."""
    found = await reader.execute(
        select(CAMERAS).where(CAMERAS.c.id == id, CAMERAS.c.removed_at.is_(None))
    )
    row = found.mappings().one_or_none()
    return None if row is None else _camera(row)


async def camera_of_url(reader: Reader, url_key: str) -> str | None:
    """The name of the camera that has this URL, or None."""
    found = await reader.execute(select(CAMERAS.c.name).where(CAMERAS.c.url_key == url_key))
    name: str | None = found.scalar_one_or_none()
    return name


async def removed(reader: Reader, id: str) -> tuple[int, int] | None:
    """Last document version and effective time of a camera that was removed, or None."""
    found = await reader.execute(
        select(CAMERAS.c.document_version, CAMERAS.c.effective_at).where(
            CAMERAS.c.id == id, CAMERAS.c.removed_at.is_not(None)
        )
    )
    row = found.one_or_none()
    return None if row is None else (row.document_version, row.effective_at)


async def add(tx: Transaction, camera: Camera) -> None:
    """Write a new camera; one that was removed under this id is written over."""
    again = update(CAMERAS).where(CAMERAS.c.id == camera.id, CAMERAS.c.removed_at.is_not(None))
    done = await tx.execute(again.values(**_row(camera), removed_at=None))
    if done.rowcount == 0:
        await tx.execute(insert(CAMERAS), _row(camera))


async def change(tx: Transaction, camera: Camera) -> None:
    """Write a camera that is there."""
    await tx.execute(update(CAMERAS).where(CAMERAS.c.id == camera.id).values(**_row(camera)))


async def remove(tx: Transaction, id: str, *, now: int) -> bool:
    """Remove a camera: its login is forgotten and its URL is free again. Says whether there was one."""
    done = await tx.execute(
        update(CAMERAS)
        .where(CAMERAS.c.id == id, CAMERAS.c.removed_at.is_(None))
        .values(removed_at=now, changed_at=now, url_key=None, credentials="", enabled=False)
    )
    return done.rowcount == 1


async def zones(reader: Reader, ids: Collection[str]) -> dict[str, tuple[int, tuple[Zone, ...]]]:
    """Document version and zones of cameras, by id."""
    found = await reader.execute(
        select(CAMERAS.c.id, CAMERAS.c.document_version, CAMERAS.c.zones).where(
            CAMERAS.c.id.in_(ids)
        )
    )
    return {
        row.id: (row.document_version, msgspec.convert(row.zones, tuple[Zone, ...]))
        for row in found
    }


def _site_row(site: Site, now: int) -> dict[str, Any]:
    return {"id": site.id, "name": site.name, "time_zone": site.time_zone, "changed_at": now}


def _row(camera: Camera) -> dict[str, Any]:
    row = msgspec.structs.asdict(camera)
    return {**row, **{name: msgspec.to_builtins(row[name]) for name in _JSON}}


def _camera(row: RowMapping) -> Camera:
    values = {name: row[name] for name in Camera.__struct_fields__}
    values["zones"] = msgspec.convert(row["zones"], tuple[Zone, ...])
    values["lines"] = msgspec.convert(row["lines"], tuple[Line, ...])
    values["masks"] = msgspec.convert(row["masks"], tuple[Mask, ...])
    values["detect"] = msgspec.convert(row["detect"], Detect)
    return Camera(**values)
