"""Settings of the gateway."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """`VANTAGE_GATEWAY_*`."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_GATEWAY_", extra="ignore", frozen=True)

    upstreams: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Base addresses of services that run in other processes."
    )
    session_days: int = Field(default=30, ge=1, le=365, description="A session's longest life.")
    idle_days: int = Field(
        default=7, ge=1, le=365, description="A session unused for so long ends."
    )
    key_days: int = Field(default=90, ge=1, le=3650, description="A signing key signs so long.")
    calls_a_minute: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Calls that a person or program may make within a minute; 0: as many as they like.",
    )
    hashers: int = Field(default=2, ge=1, le=16, description="Passwords hashed at the same time.")

    @field_validator("upstreams", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Addresses, separated by commas."""
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value
