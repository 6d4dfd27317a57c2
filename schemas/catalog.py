"""Every event, one line each. Decoding looks the CloudEvents type up here."""

from schemas.event import Event, type_name
from schemas.events.alert_raised import AlertRaised
from schemas.events.audit_recorded import AuditRecorded
from schemas.events.camera_configured import CameraConfigured
from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.delivery_changed import DeliveryChanged
from schemas.events.detections_made import DetectionsMade
from schemas.events.frame_captured import FrameCaptured
from schemas.events.incident_changes import IncidentExtended, IncidentMoved, IncidentOpened
from schemas.events.plan_decided import PlanDecided
from schemas.events.predicates_observed import PredicatesObserved
from schemas.events.rule_defined import RuleDefined
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamInterrupted, StreamOpened
from schemas.events.tracks_observed import TracksObserved
from schemas.events.tracks_seen import TracksSeen

EVENTS: tuple[type[Event], ...] = (
    FrameCaptured,
    StreamOpened,
    StreamAlive,
    StreamInterrupted,
    StreamClosed,
    DetectionsMade,
    TracksObserved,
    TracksSeen,
    PredicatesObserved,
    IncidentOpened,
    IncidentExtended,
    IncidentMoved,
    AlertRaised,
    DeliveryChanged,
    CameraStatusChanged,
    AuditRecorded,
    CameraConfigured,
    PlanDecided,
    RuleDefined,
)

BY_TYPE: dict[str, type[Event]] = {type_name(event): event for event in EVENTS}
