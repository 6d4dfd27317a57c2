"""What the cameras' routes take: strict, and nothing beside what is named."""

from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from schemas.events.camera_configured import Detect, Line, Mask, Zone
from services.vms.domain import readable

STRICT = ConfigDict(extra="forbid", strict=True)
MOST_SHAPES = 64

Name = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Corner = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Corners = Annotated[list[Corner], Field(min_length=3, max_length=64)]


class ZoneBody(BaseModel):
    """A polygon in fractions of the frame."""

    model_config = STRICT

    name: Name
    points: Corners

    def value(self, field: str) -> Zone:
        """As the document carries it."""
        return Zone(name=readable(self.name, f"{field}.name"), points=_points(self.points))


class LineBody(BaseModel):
    """A directed line from a to b in fractions of the frame."""

    model_config = STRICT

    name: Name
    a: Corner
    b: Corner

    def value(self, field: str) -> Line:
        """As the document carries it."""
        a, b = _points([self.a, self.b])
        return Line(name=readable(self.name, f"{field}.name"), a=a, b=b)


class MaskBody(BaseModel):
    """A polygon that is burned out of the picture (`privacy`) or whose motion does not count (`motion`)."""

    model_config = STRICT

    name: Name
    kind: Annotated[str, Field(pattern=r"^(privacy|motion)$")] = "privacy"
    points: Corners

    def value(self, field: str) -> Mask:
        """As the document carries it."""
        name = readable(self.name, f"{field}.name")
        return Mask(name=name, kind=self.kind, points=_points(self.points))


class DetectBody(BaseModel):
    """What is looked for. What is left out is as by default."""

    model_config = STRICT

    model: Text = ""
    backend: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,32}$")] = ""
    classes: Annotated[list[Name], Field(min_length=1, max_length=100)] = ["person"]
    threshold: Fraction = 0.4
    nms: Fraction = 0.45
    rate: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 5.0
    every_frame: bool = False

    def value(self) -> Detect:
        """As the document carries it."""
        classes = [readable(name, "detect.classes") for name in self.classes]
        return msgspec.convert({**self.model_dump(), "classes": classes}, Detect)


class CredentialsBody(BaseModel):
    """The camera's login. It goes in and is never shown; the mask as password means unchanged."""

    model_config = STRICT

    username: Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    password: Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$", repr=False)] = ""


class _Shapes(BaseModel):
    model_config = STRICT

    zones: Annotated[list[ZoneBody], Field(max_length=MOST_SHAPES)] = []
    lines: Annotated[list[LineBody], Field(max_length=MOST_SHAPES)] = []
    masks: Annotated[list[MaskBody], Field(max_length=MOST_SHAPES)] = []
    detect: DetectBody = DetectBody()
    credentials: CredentialsBody | None = None

    def given(self) -> dict[str, Any]:
        """The fields that were given, as values of a camera, without URL and credentials."""
        values: dict[str, Any] = {}
        for field in ("zones", "lines", "masks"):
            shapes = getattr(self, field)
            values[field] = tuple(
                shape.value(f"{field}[{number}]") for number, shape in enumerate(shapes)
            )
        values["detect"] = self.detect.value()
        return {name: value for name, value in values.items() if name in self.model_fields_set}


class NewCamera(_Shapes):
    """A camera to be added. A login may stand in the URL or apart; it is kept apart and sealed.

    A camera that takes its login in the query has `{user}` and `{password}` there, and the login apart.
    """

    name: Name
    url: Annotated[str, Field(min_length=1, max_length=2048)]
    enabled: bool = True


class CameraChange(_Shapes):
    """What may change on a camera; what is left out stays. `credentials: null` forgets the login."""

    name: Name | None = None
    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    enabled: bool | None = None


class SiteChange(BaseModel):
    """What may change of the site; its id stays, since incidents are named by it."""

    model_config = STRICT

    name: Name | None = None
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] | None = None


def _points(corners: list[list[float]]) -> tuple[tuple[float, float], ...]:
    """Corners as points; a negative zero becomes zero, so that equal shapes are written equally."""
    return tuple((corner[0] + 0.0, corner[1] + 0.0) for corner in corners)
