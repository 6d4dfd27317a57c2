"""Settings of the video management service."""

from zoneinfo import available_timezones

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class VmsSettings(BaseSettings):
    """`VANTAGE_VMS_*`. Site and time zone count at the first start; later the API changes them."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_VMS_", extra="ignore", frozen=True)

    site: str = Field(
        default="site",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="Id of this site; part of every incident's id.",
    )
    site_name: str = Field(default="Site", min_length=1, max_length=64)
    time_zone: str = Field(default="UTC", description="IANA name, e.g. Europe/Berlin.")

    keep_detections_days: float = Field(default=7.0, gt=0)
    keep_tracks_days: float = Field(default=30.0, gt=0)
    keep_incidents_days: float = Field(default=365.0, gt=0, description="Incidents and alerts.")
    max_detections: int = Field(default=5_000_000, ge=1000, description="Rows.")
    max_tracks: int = Field(default=5_000_000, ge=1000, description="Rows of a track and second.")
    max_incidents: int = Field(default=500_000, ge=1000, description="Rows.")
    retention_every_s: float = Field(default=60.0, gt=0)
    snapshot_wait_s: float = Field(
        default=30.0, gt=0, description="For so long a snapshot that is not there is still coming."
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is no IANA time zone; write one like Europe/Berlin")
        return value
