"""What the browser is told of each event: plain messages, and one binary form for pictures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.events.alert_raised import AlertRaised
from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.delivery_changed import DeliveryChanged
from schemas.events.incident_changes import IncidentExtended, IncidentMoved, IncidentOpened
from schemas.events.tracks_seen import TracksSeen

if TYPE_CHECKING:
    from schemas.event import Event
    from schemas.events.camera_configured import CameraConfigured
    from schemas.events.frame_captured import FrameCaptured

KINDS: dict[type[Event], str] = {
    TracksSeen: "tracks",
    AlertRaised: "alert",
    IncidentOpened: "incident",
    IncidentExtended: "extended",
    IncidentMoved: "moved",
    DeliveryChanged: "delivery",
    CameraStatusChanged: "status",
}
_HEADER = 4  # bytes that give the length of a picture's header


def message(event: Event) -> dict[str, Any] | None:
    """The message of an event; None where the browser has no use for it. Times stay microseconds UTC."""
    kind = KINDS.get(type(event))
    return None if kind is None else {"type": kind, **msgspec.to_builtins(event)}


def picture(frame: FrameCaptured, jpeg: bytes) -> bytes:
    """A picture on the wire: length of the header (4 bytes, big endian), the header as JSON, the JPEG."""
    header = msgspec.json.encode(
        {
            "camera": frame.camera,
            "epoch": frame.epoch,
            "seq": frame.seq,
            "at": frame.captured_at,
            "width": frame.width,
            "height": frame.height,
        }
    )
    return len(header).to_bytes(_HEADER) + header + jpeg


def shown(camera: CameraConfigured) -> dict[str, Any]:
    """A camera as the console shows it: never its URL, never its credentials."""
    return {
        "camera": camera.camera,
        "name": camera.name,
        "enabled": camera.enabled,
        "zones": [msgspec.to_builtins(zone) for zone in camera.zones],
        "lines": [msgspec.to_builtins(line) for line in camera.lines],
    }
