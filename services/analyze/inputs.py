"""What a film is analysed with: its address, the camera's document, rules and a detector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import msgspec
import yaml

from schemas.events.camera_configured import CameraConfigured, Detect
from services.inference import backends
from services.inference.service import options
from services.inference.settings import InferenceSettings
from services.orchestrator.documents import read_documents
from services.orchestrator.knowledge import Knowledge, scene
from services.orchestrator.replay import everywhere, load_all
from shared.errors import Invalid
from shared.rules.across.ensemble import Ensemble
from shared.rules.errors import RuleError
from shared.rules.scene import parse_places

if TYPE_CHECKING:
    from services.inference.backends.port import Detector

SCHEMES = ("file", "images", "sim")
SITE_FIELDS = ("site", "time_zone", "zones", "lines", "masks", "detect")


def url_of(source: str) -> str:
    """The URL of a path or URL: `file://` for a video, `images://` for a folder of pictures.

    Raises:
        Invalid: nothing is there, or it is a URL of something that is no film.
    """
    if "://" in source:
        if urlsplit(source).scheme not in SCHEMES:
            raise Invalid(
                f"source: {source.partition('://')[0]}:// is not analysed; give a video, a folder of "
                "pictures or sim://demo, and watch cameras with `vantage camera add`",
                field="source",
            )
        return source
    path = Path(source).expanduser().resolve()
    if not path.exists():
        raise Invalid(f"source: there is no file or folder {path}", field="source")
    return f"{'images' if path.is_dir() else 'file'}://{quote(str(path))}"


def describe(
    camera: str, url: str, site: Path | None, detect: dict[str, object]
) -> CameraConfigured:
    """The camera's document: places and settings of the site file, `detect` on top.

    Raises:
        Invalid: the file is none, or a value in it is wrong; the text names it.
    """
    said = _mapping(site) if site is not None else {}
    places = parse_places({name: _by_name(said.get(name)) for name in ("zones", "lines")}, "site")
    try:
        ZoneInfo(str(said.get("time_zone", "UTC")))
        return msgspec.convert(
            {
                "camera": camera,
                "name": camera,
                "site": said.get("site", "site"),
                "time_zone": said.get("time_zone", "UTC"),
                "url": url,
                "zones": [
                    {"name": name, "points": points} for name, points in places.zones.items()
                ],
                "lines": [{"name": name, "a": a, "b": b} for name, (a, b) in places.lines.items()],
                "masks": said.get("masks") or [],
                "detect": _detect(said.get("detect")) | detect,
                "document_version": 1,
                "effective_at": 0,
            },
            CameraConfigured,
        )
    except (msgspec.ValidationError, KeyError, ValueError) as error:
        raise Invalid(f"site: {error}; correct it") from error


def know(document: CameraConfigured, rules: Path | None) -> Knowledge:
    """The document and the rules of a file, whatever their scope and status say.

    Raises:
        Invalid: a rule cannot be loaded, or names a place that neither its `defs` nor the site file has.
    """
    known = Knowledge()
    known.configure(document)
    loaded = everywhere(load_all(read_documents(rules))) if rules is not None else []
    trial = Ensemble({document.camera: scene(document)}, loaded)
    problems = [one for found in trial.refused.values() for one in found]
    if problems:
        raise RuleError(problems)
    for rule in loaded:
        known.rules.put(rule.id, document.effective_at, rule)
    return known


def open_detector(detect: Detect, model: str, backend: str) -> Detector:
    """The detector that is named here, in the site file or in the settings of inference, in this order.

    Raises:
        Invalid: none is named, or it is no model.
    """
    settings = InferenceSettings()
    named = [(model, backend), (detect.model, detect.backend), (settings.model, settings.backend)]
    for name, kind in named:
        if name or kind:
            return backends.load(name, kind, options(settings))
    raise Invalid(
        "model: no detection model is named; give --model FILE, a model exported to ONNX, "
        "or set VANTAGE_INFERENCE_MODEL",
        field="model",
    )


def _mapping(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise Invalid(f"site: {file} is no file; name a YAML file", field="site")
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise Invalid(f"site: {file} is not YAML: {text}; correct it", field="site") from error
    if not isinstance(said, dict):
        raise Invalid(f"site: {file} holds no fields; use {', '.join(SITE_FIELDS)}", field="site")
    unknown = [name for name in said if name not in SITE_FIELDS]
    if unknown:
        raise Invalid(
            f"site: there is no field {unknown[0]!r}; use {', '.join(SITE_FIELDS)}", field="site"
        )
    return said


def _by_name(shapes: object) -> object:
    """Places as rules write them (by name); also as the API lists them."""
    if not isinstance(shapes, list):
        return shapes or {}
    return {
        one.get("name"): one.get("points") or [one.get("a"), one.get("b")]
        for one in shapes
        if isinstance(one, dict)
    }


def _detect(said: object) -> dict[str, object]:
    known = Detect.__struct_fields__
    if said is not None and not isinstance(said, dict):
        raise Invalid(f"site: detect is {said!r}; give fields such as threshold", field="detect")
    for name in said or {}:
        if name not in known:
            raise Invalid(
                f"site: detect has no field {name!r}; use {', '.join(known)}", field="detect"
            )
    return dict(said or {})
