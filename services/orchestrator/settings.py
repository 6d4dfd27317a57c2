"""Settings of the orchestrator: VANTAGE_ORCHESTRATOR_<NAME>."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class OrchestratorSettings(BaseSettings):
    """How often state is saved, and how long an incident waits for a person."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_ORCHESTRATOR_")

    checkpoint_s: float = Field(
        default=1.0, gt=0, le=60, description="Seconds between checkpoints while nothing happens."
    )
    expire_days: float = Field(
        default=30.0, gt=0, description="Days after which an incident nobody closed expires."
    )
    expire_every_s: float = Field(
        default=600.0, gt=0, description="Seconds between looks for such incidents."
    )
