"""Settings of inference."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import ByteSize, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class InferenceSettings(BaseSettings):
    """`VANTAGE_INFERENCE_*`."""

    model_config = SettingsConfigDict(env_prefix="VANTAGE_INFERENCE_", extra="ignore", frozen=True)

    model: str = Field(
        default="",
        description="File of the detection model (ONNX) for cameras that name none; or `scripted:...`.",
    )
    backend: str = Field(
        default="", description="Detector back-end of that model; empty: by the model."
    )
    providers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("cpu",),
        description="Execution providers in order of preference, e.g. `cuda,cpu`.",
    )
    threads: int = Field(default=1, ge=0, le=256, description="Threads of one call; 0: all cores.")
    sessions: int = Field(
        default=0, ge=0, le=64, description="Calls at a time; 0: one a core, at most 4."
    )
    batch: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Frames of one call, where the model's batch axis is dynamic.",
    )
    max_age: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds since a frame left its reader, after which it is dropped.",
    )
    snapshot_seconds: float = Field(
        default=30.0, ge=1, le=600, description="Seconds of looked-at pictures kept for snapshots."
    )
    snapshot_memory: ByteSize = Field(
        default=ByteSize(128 * 1000**2), description="Memory of all of them together."
    )

    @field_validator("providers", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """Comma separated names, or a list of them."""
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError("expected names such as cuda,cpu")
        return tuple(str(part).strip() for part in parts if str(part).strip())

    @property
    def parallel(self) -> int:
        """Calls at a time."""
        return self.sessions or min(4, os.cpu_count() or 1)
