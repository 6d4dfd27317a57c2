"""The register of cameras: checks what comes in, seals logins, and says every change as the camera's whole document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import msgspec
from sqlalchemy.exc import IntegrityError

from schemas.cloudevents import rfc3339
from schemas.topics import CAMERAS
from services.vms.addresses import check_address
from services.vms.domain import (
    Camera,
    Site,
    camera_id,
    checked_shapes,
    document,
    next_version,
    readable,
    same_place,
    spelling,
    split_login,
)
from services.vms.store import cameras as store
from services.vms.twins import twins, warning
from shared.audit import Audit
from shared.errors import Conflict, Invalid, NotFound
from shared.security.camera_login import CameraLogin, open_login, seal_login

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.vms.bodies import CameraChange, CredentialsBody, NewCamera, SiteChange
    from shared.bus.port import Publisher
    from shared.clock import Clock
    from shared.db.engine import Database, Transaction
    from shared.security.egress import Egress
    from shared.security.envelope import SecretBox

MASK = "********"
REGISTER = "cameras"  # who changes the register looks at all of it first


class Cameras:
    """The site and its cameras."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        publisher: Publisher,
        egress: Egress,
        box: SecretBox,
    ) -> None:
        self._database = database
        self._clock = clock
        self._publisher = publisher
        self._egress = egress
        self._box = box
        self._audit = Audit(publisher, clock)

    async def all(self) -> list[Camera]:
        """All cameras by name."""
        async with self._database.read() as reader:
            return await store.cameras(reader)

    async def one(self, id: str) -> Camera:
        """One camera.

        Raises:
            NotFound: there is none of this id.
        """
        async with self._database.read() as reader:
            found = await store.camera(reader, id)
        if found is None:
            raise _no_camera(id)
        return found

    async def add(self, body: NewCamera) -> Camera:
        """Add a camera.

        Raises:
            Invalid: a field is wrong.
            Conflict: its name or its URL is taken.
        """
        name = readable(body.name, "name")
        url, in_url = split_login(body.url)
        login = self._login(body.credentials, in_url, stored=None)
        check_address(url, login=login is not None)
        url_key = await self._checked_url(url)
        id = camera_id(name)
        camera = Camera(
            id=id,
            name=name,
            enabled=body.enabled,
            url=url,
            url_key=url_key,
            credentials="" if login is None else seal_login(self._box, id, login),
            created_at=self._clock.now(),
            **body.given(),
        )
        checked_shapes(camera.zones, camera.lines, camera.masks)
        return await self._written(camera, new=True)

    async def change(self, id: str, body: CameraChange) -> Camera:
        """Change a camera; nothing is said where nothing changes.

        Raises:
            NotFound: there is none of this id.
            Invalid: a field is wrong, or a stored login would go to another address.
            Conflict: the name or the URL is taken by another camera.
        """
        old = await self.one(id)
        values: dict[str, Any] = body.given()
        if body.name is not None:
            values["name"] = readable(body.name, "name")
        if body.enabled is not None:
            values["enabled"] = body.enabled
        values |= await self._changed_access(old, body)
        new = msgspec.structs.replace(old, **values)
        if (new.url, new.credentials) != (old.url, old.credentials):
            check_address(new.url, login=bool(new.credentials))
        checked_shapes(new.zones, new.lines, new.masks)
        return old if new == old else await self._written(new, new=False)

    async def warnings(self, camera: Camera) -> list[str]:
        """What somebody who has just given a camera this URL should know: which others are the same device."""
        return [warning(twin) for twin in await twins(camera, await self.all(), self._egress)]

    async def remove(self, id: str) -> None:
        """Remove a camera; its history stays until it expires.

        Raises:
            NotFound: there is none of this id.
        """
        async with self._database.transaction() as tx:
            await tx.alone(REGISTER)
            if not await store.remove(tx, id, now=self._clock.now()):
                raise _no_camera(id)
            entry = self._audit.entry("camera.removed", f"camera:{id}")
            await tx.add([entry, self._publisher.tombstone(CAMERAS, id)])

    async def site(self) -> Site:
        """The site."""
        async with self._database.read() as reader:
            return await store.site(reader)

    async def change_site(self, body: SiteChange) -> Site:
        """Change the site; a new time zone is said in every camera's document.

        Raises:
            Invalid: a field is wrong.
        """
        values: dict[str, str] = {}
        if body.name is not None:
            values["name"] = readable(body.name, "name")
        if body.time_zone is not None:
            values["time_zone"] = _known_zone(body.time_zone)
        async with self._database.transaction() as tx:
            await tx.alone(REGISTER)
            old = await store.site(tx)
            new = msgspec.structs.replace(old, **values)
            await store.change_site(tx, new, now=self._clock.now())
            if new != old:
                await tx.add([self._audit.entry("site.changed", f"site:{new.id}")])
            if new.time_zone != old.time_zone:
                for camera in await store.cameras(tx):
                    await self._say(tx, next_version(camera, now=self._clock.now()), new)
        return new

    async def _written(self, camera: Camera, *, new: bool) -> Camera:
        try:
            async with self._database.transaction() as tx:
                await tx.alone(REGISTER)
                await self._free(tx, camera, new=new)
                gone = await store.removed(tx, camera.id) if new else None
                if gone is not None:
                    camera = msgspec.structs.replace(
                        camera, document_version=gone[0], effective_at=gone[1]
                    )
                camera = next_version(camera, now=self._clock.now())
                if new:
                    await store.add(tx, camera)
                await self._say(tx, camera, await store.site(tx))
                deed = "camera.added" if new else "camera.changed"
                told = f"version {camera.document_version}"
                await tx.add([self._audit.entry(deed, f"camera:{camera.id}", reason=told)])
        except IntegrityError:
            raise Conflict(
                "another change came in between; look at the cameras and try again"
            ) from None
        return camera

    async def _say(self, tx: Transaction, camera: Camera, site: Site) -> None:
        await store.change(tx, camera)
        await tx.add([self._publisher.mint(document(camera, site))])

    async def _free(self, tx: Transaction, camera: Camera, *, new: bool) -> None:
        """Hold that id, name and URL are no other camera's."""
        there = await store.cameras(tx)
        others = [one for one in there if new or one.id != camera.id]
        if not new:
            _unchanged(camera, [one for one in there if one.id == camera.id])
        for other in others:
            if other.url_key == camera.url_key:
                raise Conflict(
                    f"url: the camera {other.name!r} has this address already; "
                    "one camera is enough, give it more zones instead"
                )
            if other.id == camera.id or other.name.casefold() == camera.name.casefold():
                raise Conflict(
                    f"name: there is a camera {other.name!r} (id {other.id}) already; choose another"
                )

    async def _checked_url(self, url: str) -> str:
        target = await self._egress.camera(url)
        return spelling(url, None if target.address is None else str(target.address))

    async def _changed_access(self, old: Camera, body: CameraChange) -> dict[str, Any]:
        """URL and credentials after a change. A stored login never follows to another address unasked."""
        url, in_url = split_login(body.url) if body.url is not None else (old.url, None)
        values: dict[str, Any] = {}
        if body.url is not None and url != old.url:
            values = {"url": url, "url_key": await self._checked_url(url)}
        forget = "credentials" in body.model_fields_set and body.credentials is None
        if forget and in_url is None:
            return {**values, "credentials": ""}
        stored = open_login(self._box, old.id, old.credentials)
        login = self._login(body.credentials, in_url, stored=stored)
        kept = stored is not None and (login is None or login.password == stored.password)
        if kept and not same_place(old.url, url) and not _entered(body.credentials, in_url):
            raise Invalid(
                "credentials: the address changed; enter user and password again, "
                "or send null to forget them",
                field="credentials",
            )
        if login is not None and login != stored:
            values["credentials"] = seal_login(self._box, old.id, login)
        return values

    def _login(
        self,
        body: CredentialsBody | None,
        in_url: CameraLogin | None,
        *,
        stored: CameraLogin | None,
    ) -> CameraLogin | None:
        """The login that was given, apart or in the URL; a mask stands for the stored password."""
        given = in_url
        if body is not None:
            given = CameraLogin(username=body.username, password=body.password)
        if given is None or not (given.username or given.password):
            return None
        if given.password != MASK:
            return given
        if stored is None:
            raise Invalid(
                "credentials.password: the mask stands for a stored password and there is none; "
                "write the password",
                field="credentials.password",
            )
        return CameraLogin(username=given.username, password=stored.password)


def shown(camera: Camera, site: Site) -> dict[str, Any]:
    """A camera as the API shows it: of its login only whether there is one."""
    return {
        "id": camera.id,
        "name": camera.name,
        "site": site.id,
        "time_zone": site.time_zone,
        "enabled": camera.enabled,
        "url": camera.url,
        "has_credentials": bool(camera.credentials),
        "zones": msgspec.to_builtins(camera.zones),
        "lines": msgspec.to_builtins(camera.lines),
        "masks": msgspec.to_builtins(camera.masks),
        "detect": msgspec.to_builtins(camera.detect),
        "document_version": camera.document_version,
        "effective_at": rfc3339(camera.effective_at),
        "created_at": rfc3339(camera.created_at),
        "changed_at": rfc3339(camera.changed_at),
    }


def _entered(body: CredentialsBody | None, in_url: CameraLogin | None) -> bool:
    """Whether a password was written, not the mask."""
    password = body.password if body is not None else in_url.password if in_url else MASK
    return password != MASK


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise Invalid(
            f"time_zone: {name!r} is no IANA time zone; write one like Europe/Berlin",
            field="time_zone",
        )
    return name


def _unchanged(camera: Camera, stored: Sequence[Camera]) -> None:
    """Hold that a camera is still the one that the change was made of."""
    if not stored:
        raise _no_camera(camera.id)
    if stored[0].document_version != camera.document_version:
        raise Conflict(
            "another change of this camera came in between; look at the camera and try again"
        )


def _no_camera(id: str) -> NotFound:
    return NotFound(f"there is no camera {id!r}")
