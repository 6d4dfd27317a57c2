"""What holds on one camera at one moment, for rules over several cameras."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from schemas import topics
from schemas.event import CameraId, Event, Micros, Topic


class Holder(msgspec.Struct, frozen=True):
    """A track for which a question is answered with yes; `track` is empty where the camera as a whole is.

    `momentary`: it held at this moment alone, e.g. entering. `started_at`: when what it rests on began.
    """

    track: str
    label: str
    zone: str
    line: str
    started_at: Micros
    margin: float
    momentary: bool = False


class Answer(msgspec.Struct, frozen=True):
    """One question with all for whom it holds; `unknown`: too little was seen to say that there are no others."""

    question: Annotated[
        str, Meta(description="`~` and a digest of the condition and of the rule's own places.")
    ]
    unknown: bool = False
    holders: tuple[Holder, ...] = ()


class Gap(msgspec.Struct, frozen=True):
    """Nothing is known of the camera from `since` until `until`."""

    since: Micros
    until: Micros


class PredicatesObserved(Event, frozen=True, kw_only=True):
    """All that a camera answers to rules over several cameras, as of `observed_at`.

    Said in the frame in which an answer changes, and with the first frame or heartbeat of every second. It says
    what holds, not what changed: one that is lost or ignored leaves no trace behind the next.
    """

    type: ClassVar[str] = "predicates.observed"
    topics: ClassVar[tuple[Topic, ...]] = (topics.PREDICATES,)

    site: Annotated[str, Meta(description="Correlation group: rules see the cameras of one site.")]
    camera: CameraId
    camera_version: Annotated[int, Meta(description="Version of zones, lines and masks.")]
    epoch: int
    seq: Annotated[int, Meta(description="Newest frame that was looked at.")]
    observed_at: Annotated[
        Micros, Meta(description="Of two of one moment that with the later frame counts.")
    ]
    said_at: Annotated[
        Micros,
        Meta(description="Host time; tells a camera that is silent from one that is catching up."),
    ]
    period: Annotated[int, Meta(gt=0, description="Expected time between frames, microseconds.")]
    gaps: tuple[Gap, ...] = ()
    closed: Annotated[
        bool, Meta(description="The stream ended: nobody needs to wait for this camera.")
    ] = False
    model: str = ""
    tracker: str = ""
    simulated: bool = False
    answers: tuple[Answer, ...] = ()

    @property
    def key(self) -> str:
        return self.site

    @property
    def at(self) -> int:
        return self.observed_at
