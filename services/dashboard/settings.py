"""Settings of the dashboard."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DashboardSettings(BaseSettings):
    """`VANTAGE_DASHBOARD_*`."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_DASHBOARD_", extra="ignore", frozen=True)

    viewers: int = Field(default=200, ge=1, le=10_000, description="Open live connections at most.")
    backlog: int = Field(
        default=256, ge=8, le=4096, description="Unread messages at which a viewer is cut off."
    )
    recheck: float = Field(
        default=10.0,
        gt=0,
        le=20,
        description="Seconds between looks whether a viewer still may look.",
    )
