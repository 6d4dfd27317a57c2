"""Settings of ingest."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IngestSettings(BaseSettings):
    """`VANTAGE_INGEST_*`."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_INGEST_", extra="ignore", frozen=True)

    reader_memory: int = Field(
        default=4096, ge=512, description="Megabytes of address space a reader process may use."
    )
    cameras_per_reader: int = Field(
        default=16, ge=1, le=64, description="Cameras that one reader process hosts."
    )
    max_cameras: int | None = Field(
        default=None, ge=1, description="Cameras that this process may read; unset: any number."
    )
    largest_picture: int = Field(
        default=5120 * 2880, ge=64 * 64, description="Pixels of the largest picture that is read."
    )
    open_timeout: float = Field(
        default=10.0, gt=0, le=60, description="Seconds that connecting to a camera may take."
    )
    read_timeout: float = Field(
        default=10.0, gt=0, le=60, description="Seconds without data after which a stream hangs."
    )
    lease: float = Field(
        default=10.0, ge=3, le=60, description="Seconds a camera's lease lasts without renewal."
    )
    probe_timeout: float = Field(
        default=10.0, gt=0, le=60, description="Seconds that trying out a URL may take."
    )
