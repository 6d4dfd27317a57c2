"""The models that plans ask for: each loaded once, in a thread, kept, and accounted for in the health report."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import structlog

from services.inference import backends
from shared.errors import Invalid, VantageError
from shared.service import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from schemas.events.plan_decided import PlanDecided
    from services.inference.backends.port import Detector, Options
    from shared.clock import Clock

Spec: TypeAlias = tuple[str, str]
"""Back-end and the model's name within it."""

RETRY_S = 30.0
REMEDY = (
    "set VANTAGE_INFERENCE_MODEL to the file of a detection model exported to ONNX, "
    "or name one in the camera's detect settings"
)
log = structlog.get_logger(component="detectors")


@dataclass
class Loading:
    """What became of a model."""

    state: Literal["wanted", "ready", "failed"]
    detector: Detector | None = None
    error: str = ""
    tried_at: float = 0.0


class Detectors:
    """Models by what plans name. `default` and `backend` serve plans that name none."""

    def __init__(
        self,
        options: Options,
        clock: Clock,
        *,
        default: str = "",
        backend: str = "",
        load: Callable[[str, str, Options], Detector] = backends.load,
    ) -> None:
        self._options = options
        self._clock = clock
        self._default = default
        self._backend = backend
        self._load = load
        self._found: dict[Spec, Loading] = {}
        self._wanted: asyncio.Queue[Spec] = asyncio.Queue()

    def open(self, plan: PlanDecided) -> Detector:
        """The detector of a plan, loaded now if need be; blocks.

        Raises:
            Invalid: the plan names no model and there is no default, or the model is none.
        """
        spec = self._spec(plan)
        if spec is None:
            raise Invalid(f"no detection model is named; {REMEDY}", field="model")
        found = self._found.get(spec)
        if found is None or found.detector is None:
            detector = self._load(spec[1], spec[0], self._options)
            found = self._found[spec] = Loading("ready", detector)
        assert found.detector is not None  # noqa: S101 - set two lines above
        return found.detector

    def detector_of(self, plan: PlanDecided) -> Detector | None:
        """The detector of a plan once it is loaded; asks for it, and for one that failed again later."""
        try:
            spec = self._spec(plan)
        except Invalid:
            return None
        return self._ready(spec) if spec is not None else None

    def want(self, plan: PlanDecided) -> None:
        """Have the plan's model loaded before its first frame comes."""
        self.detector_of(plan)

    def want_default(self) -> None:
        """Have the default model loaded before any plan comes."""
        if self._default or self._backend:
            try:
                self._ready(backends.resolve(self._default, self._backend))
            except Invalid as error:
                self._found[(self._backend, self._default)] = Loading("failed", error=str(error))

    async def run(self) -> None:
        """Load what is wanted, one after the other, until cancelled."""
        while True:
            spec = await self._wanted.get()
            await self._fetch(spec)

    def loaded(self) -> list[tuple[str, str, str]]:
        """Name, digest and back-end of every model that is ready."""
        return [
            (found.detector.model.name, found.detector.model.digest, spec[0])
            for spec, found in list(self._found.items())
            if found.detector is not None
        ]

    def health(self, plans: Mapping[str, PlanDecided]) -> Health:
        """Degraded where a camera has no model, or a model could not be loaded; the remedy stands beside it."""
        details: dict[str, object] = {
            "models": {_name(spec): self._line(found) for spec, found in self._found.items()}
        }
        wrong = {camera: said for camera, plan in plans.items() if (said := self._wrong(plan))}
        if wrong:
            details["plans"] = wrong
        unserved = sorted(camera for camera, plan in plans.items() if self._lacks(plan))
        if unserved or not (plans or self._default or self._backend):
            details |= {"remedy": REMEDY, "cameras": unserved}
            return Health(status="degraded", reason="no_model", details=details)
        failed = [found.error for found in self._found.values() if found.state == "failed"]
        if failed:
            return Health(status="degraded", reason=f"model_failed: {failed[0]}", details=details)
        if any(found.state == "wanted" for found in self._found.values()):
            return Health(status="degraded", reason="loading", details=details)
        return Health(status="healthy", details=details)

    def _spec(self, plan: PlanDecided) -> Spec | None:
        if plan.model or plan.backend not in ("", self._backend or backends.DEFAULT):
            return backends.resolve(plan.model, plan.backend)
        if self._default or self._backend:
            return backends.resolve(self._default, self._backend)
        return None

    def _lacks(self, plan: PlanDecided) -> bool:
        return bool(self._wrong(plan)) or self._spec(plan) is None

    def _wrong(self, plan: PlanDecided) -> str:
        """Why a plan names nothing that could be loaded; empty where it does, or names nothing."""
        try:
            self._spec(plan)
        except Invalid as error:
            return str(error)
        return ""

    def _ready(self, spec: Spec) -> Detector | None:
        found = self._found.get(spec)
        now = self._clock.monotonic()
        stale = found is not None and found.state == "failed" and now - found.tried_at > RETRY_S
        if found is None or stale:
            error = found.error if found is not None else ""
            self._found[spec] = Loading("wanted", error=error, tried_at=now)
            self._wanted.put_nowait(spec)
            return None
        return found.detector

    async def _fetch(self, spec: Spec) -> None:
        backend, model = spec
        try:
            detector = await asyncio.to_thread(self._load, model, backend, self._options)
        except (VantageError, ImportError, OSError) as error:
            log.error("model_not_loaded", model=model, backend=backend, reason=str(error))
            now = self._clock.monotonic()
            self._found[spec] = Loading("failed", error=str(error), tried_at=now)
            return
        self._found[spec] = Loading("ready", detector)
        log.info("model_loaded", model=detector.model.version, backend=backend)

    def _line(self, found: Loading) -> dict[str, object]:
        line: dict[str, object] = {"state": "loading" if found.state == "wanted" else found.state}
        if found.detector is not None:
            model = found.detector.model
            line |= {"version": model.version, "simulated": model.simulated}
        if found.error:
            line["error"] = found.error
        return line


def _name(spec: Spec) -> str:
    return ":".join(part for part in spec if part)
