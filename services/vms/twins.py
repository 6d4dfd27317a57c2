"""Two cameras that are one device: reached by a name here and by an address there, which only a look-up can tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.vms.domain import Camera, apart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.security.egress import Address, Egress

PATIENCE_S = 1.0  # for all look-ups together: who adds a camera waits for them
MOST = 32  # cameras that are compared; they have scheme, port and path in common with the new one


async def twins(camera: Camera, others: Iterable[Camera], egress: Egress) -> list[Camera]:
    """Those of the other cameras whose host means an address of this one's, and whose URL is alike otherwise.

    A name that cannot be looked up in time is nobody's twin: nothing is refused by this.
    """
    host, rest = apart(camera.url_key)
    alike = []
    for other in others:
        theirs = apart(other.url_key)
        if other.id != camera.id and host and theirs[0] != host and theirs[1] == rest:
            alike.append(other)
    if not alike:
        return []
    alike = alike[:MOST]
    mine, *found = await asyncio.gather(
        *(_addresses(egress, one.url) for one in (camera, *alike)),
    )
    return [other for other, addresses in zip(alike, found, strict=True) if mine & addresses]


def warning(twin: Camera) -> str:
    """What is said of one."""
    return (
        f"url: this is the device of the camera {twin.name!r} (id {twin.id}, {twin.url}): its host has the same "
        "address; it is read twice now. One camera is enough: remove one of the two, and give the other its zones"
    )


async def _addresses(egress: Egress, url: str) -> frozenset[Address]:
    return await egress.addresses(url, patience=PATIENCE_S)
