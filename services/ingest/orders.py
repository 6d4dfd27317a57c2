"""What a reader is told to open for a camera: its checked address, its login, its masks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from services.ingest.domain import Trouble
from services.ingest.sources.port import Opening
from services.ingest.wire import Open, Polygons
from shared.errors import Invalid, Unavailable
from shared.security.camera_login import open_login

if TYPE_CHECKING:
    from schemas.events.camera_configured import CameraConfigured
    from services.ingest.settings import IngestSettings
    from shared.security.camera_login import CameraLogin
    from shared.security.egress import Egress
    from shared.security.envelope import SecretBox

PER_SECOND = 10


class Refused(Exception):
    """A camera's document does not lead to something that may be opened."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


class Orders:
    """Makes orders for readers. Names are looked up and addresses checked anew for each; logins are opened here only."""

    def __init__(self, egress: Egress, box: SecretBox, settings: IngestSettings) -> None:
        self._egress = egress
        self._box = box
        self._settings = settings
        self._pace = asyncio.Lock()

    async def order(self, camera: CameraConfigured, start: int) -> Open:
        """The order for a camera, `start` microseconds into its film; waits its turn where many connect at once.

        Raises:
            Refused: the address is not allowed or cannot be looked up, or the login cannot be opened.
        """
        try:
            login = open_login(self._box, camera.camera, camera.credentials)
            opening = await self.opening(camera.url, login, start)
        except Invalid as error:
            raise Refused(Trouble("unreadable", str(error))) from None
        except Unavailable as error:
            raise Refused(Trouble("unreachable", str(error))) from None
        async with self._pace:
            await asyncio.sleep(1 / PER_SECOND)
        privacy, still = polygons(camera)
        return Open(0, opening, camera.detect.rate, privacy, still)

    async def opening(self, url: str, login: CameraLogin | None, start: int = 0) -> Opening:
        """The address that was checked, with the login in it.

        Raises:
            Invalid: the address is not allowed.
            Unavailable: it cannot be looked up now.
        """
        target = await self._egress.camera(url)
        return Opening(
            url=with_login(target.pinned, login),
            start=start,
            max_pixels=self._settings.largest_picture,
            open_timeout=self._settings.open_timeout,
            read_timeout=self._settings.read_timeout,
        )


def with_login(url: str, login: CameraLogin | None) -> str:
    """The URL with user and password in it: in place of `{user}` and `{password}`, or else before the host."""
    if login is None:
        return url
    user, password = quote(login.username, safe=""), quote(login.password, safe="")
    if "{user}" in url or "{password}" in url:
        return url.replace("{password}", password).replace("{user}", user)
    parts = urlsplit(url)
    who = f"{user}:{password}"
    return urlunsplit(parts._replace(netloc=f"{who}@{parts.netloc.rpartition('@')[2]}"))


def polygons(camera: CameraConfigured) -> tuple[Polygons, Polygons]:
    """A camera's masks: what is burned in, and where motion does not count."""
    privacy = tuple(mask.points for mask in camera.masks if mask.kind == "privacy")
    still = tuple(mask.points for mask in camera.masks if mask.kind == "motion")
    return privacy, still
