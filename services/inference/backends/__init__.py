"""Detector back-ends by name. Each is one file and one line here, and is loaded when a model needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.inference.backends.port import Detector, Options

BACKENDS: Mapping[str, str] = {
    "onnx": "services.inference.backends.onnx:load",
    "scripted": "services.inference.backends.scripted:load",
}
DEFAULT = "onnx"


def resolve(model: str, backend: str = "") -> tuple[str, str]:
    """Back-end and the model's name within it.

    Without a back-end a prefix (`scripted:sim`) says it; without that it is `onnx` and the model a file.

    Raises:
        Invalid: there is no back-end of that name.
    """
    prefix, colon, rest = model.partition(":")
    named = bool(colon) and prefix in BACKENDS
    if named and backend in ("", prefix):
        return prefix, rest
    if backend and backend not in BACKENDS:
        raise Invalid(
            f"detector back-end {backend!r} is unknown; use one of {', '.join(BACKENDS)}",
            field="backend",
        )
    return backend or DEFAULT, model


def load(model: str, backend: str, options: Options) -> Detector:
    """Load a model; this may take seconds.

    Raises:
        Invalid: no such back-end, or the model is none; the text names it and the remedy.
    """
    name, rest = resolve(model, backend)
    module, _, function = BACKENDS[name].partition(":")
    opened = cast("Callable[[str, Options], Detector]", getattr(import_module(module), function))
    return opened(rest, options)
