"""The login of a camera as it stands in its document: sealed by who keeps cameras, opened by who connects to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.errors import Invalid

if TYPE_CHECKING:
    from shared.security.envelope import SecretBox


class CameraLogin(msgspec.Struct, frozen=True, kw_only=True):
    """User and password of a camera, in clear. It is never logged and never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "CameraLogin(********)"


def seal_login(box: SecretBox, camera: str, login: CameraLogin) -> str:
    """The login as `CameraConfigured.credentials` carries it; it opens for this camera only."""
    return box.seal(msgspec.json.encode(login).decode(), bound_to=_place(camera))


def open_login(box: SecretBox, camera: str, credentials: str) -> CameraLogin | None:
    """The login in `CameraConfigured.credentials`; None where it is empty.

    Raises:
        Invalid: it was sealed for another camera or with a master key that is gone.
    """
    if not credentials:
        return None
    opened = box.open(credentials, bound_to=_place(camera))
    try:
        return msgspec.json.decode(opened, type=CameraLogin)
    except msgspec.DecodeError:
        raise Invalid(
            f"the stored login of camera {camera} is damaged; enter it again", field="credentials"
        ) from None


def _place(camera: str) -> str:
    return f"cameras.{camera}.credentials"
