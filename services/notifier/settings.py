"""Settings of the notifier."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class NotifierSettings(BaseSettings):
    """`VANTAGE_NOTIFIER_*`."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_NOTIFIER_", extra="ignore", frozen=True)

    timeout: float = Field(default=15.0, gt=0, le=60, description="Seconds that one try may take.")
    per_channel: int = Field(default=8, ge=1, le=64, description="Tries at once on one channel.")
    in_flight: int = Field(default=64, ge=1, le=1024, description="Tries at once on all channels.")
