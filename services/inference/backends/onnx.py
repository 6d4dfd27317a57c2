"""Detection models as ONNX files, run by ONNX Runtime: YOLOX, YOLOv8, YOLO11, YOLO26."""

from __future__ import annotations

import hashlib
import queue
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.events.detections_made import Detection
from services.inference.backends.port import DetectorFailed, Model, require_frames
from services.inference.labels import names_of
from services.inference.layouts import Found, Layout, recognise
from services.inference.letterbox import Canvas, Placement
from services.inference.suppression import suppress
from shared.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import onnxruntime
    from numpy.typing import NDArray

    from services.inference.backends.port import Frame, Options

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
_TYPES: Mapping[str, type[np.floating]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
_REMEDY = "give the file of a detection model exported to ONNX"


def load(file: str, options: Options) -> OnnxDetector:
    """Read a model file and try it on a grey frame.

    Raises:
        Invalid: no such file, no ONNX model, not one that detects, or a provider that is not installed.
    """
    path = _require_file(file)
    session = _session(path, options)
    return OnnxDetector(path.stem, _digest(path), session, options)


class OnnxDetector:
    """One ONNX Runtime session, used by `options.parallel` threads at a time, each with a canvas of its own."""

    def __init__(
        self, name: str, digest: str, session: onnxruntime.InferenceSession, options: Options
    ) -> None:
        self._session = session
        self._failures = _failures()
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        shape, dtype = _input_of(session, metadata, name)
        fixed = shape[0]
        self._input = session.get_inputs()[0].name
        self._outputs = [session.get_outputs()[0].name]
        grey = np.full((fixed or 1, *shape[1:]), 114, dtype)
        self._layout = _layout(name, self._try(grey, name), (shape[3], shape[2]), metadata)
        self.model = Model(
            name=name,
            digest=digest,
            labels=names_of(self._layout.classes, metadata),
            batch=fixed or max(1, options.batch),
            parallel=max(1, options.parallel),
        )
        self._fixed = fixed is not None
        self._benches: queue.SimpleQueue[_Bench] = queue.SimpleQueue()
        for _ in range(self.model.parallel):
            self._benches.put(_Bench(self.model.batch, shape, dtype, self._layout))

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        """See `Detector.detect`."""
        require_frames(frames, self.model)
        wanted = self._wanted(classes)
        if not frames or (wanted is not None and len(wanted) == 0):
            return [[] for _ in frames]
        with self._bench() as bench:
            places = [
                canvas.draw(frame.pixels)
                for canvas, frame in zip(bench.canvases, frames, strict=False)
            ]
            answer = self._run(bench.blob if self._fixed else bench.blob[: len(frames)])
        return [
            self._detections(answer[index], place, frames[index], (threshold, nms, wanted))
            for index, place in enumerate(places)
        ]

    def close(self) -> None:
        """Nothing to give back by hand: the session goes with the last reference."""

    def _detections(
        self,
        answer: NDArray[np.float32],
        place: Placement,
        frame: Frame,
        ask: tuple[float, float, NDArray[np.int64] | None],
    ) -> list[Detection]:
        threshold, nms, wanted = ask
        try:
            found = self._layout.read(answer, threshold, wanted)
        except FloatingPointError as error:
            raise DetectorFailed(f"model {self.model.version} failed: {error}") from error
        height, width = frame.pixels.shape[:2]
        boxes = place.back(found.boxes, width, height)
        inside = _with_area(boxes)
        found = Found(boxes[inside], found.scores[inside], found.classes[inside])
        if not self._layout.suppressed:
            stays = suppress(found.boxes, found.scores, found.classes, nms)
            found = Found(found.boxes[stays], found.scores[stays], found.classes[stays])
        return _described(found, self.model.labels)

    def _wanted(self, classes: Collection[str]) -> NDArray[np.int64] | None:
        """Numbers of the classes that are looked for; None for all."""
        if not classes:
            return None
        numbers = [number for number, label in enumerate(self.model.labels) if label in classes]
        return np.array(numbers, np.int64)

    def _run(self, blob: NDArray[np.floating]) -> NDArray[np.float32]:
        try:
            answer = self._session.run(self._outputs, {self._input: blob})[0]
        except self._failures as error:
            raise DetectorFailed(f"model {self.model.version} failed: {error}") from error
        return np.asarray(answer, np.float32)

    def _try(self, blob: NDArray[np.floating], name: str) -> NDArray[np.float32]:
        try:
            return np.asarray(self._session.run(self._outputs, {self._input: blob})[0], np.float32)
        except self._failures as error:
            raise Invalid(
                f"model {name!r} cannot look at a frame: {error}; {_REMEDY}", field="model"
            ) from error

    @contextmanager
    def _bench(self) -> Iterator[_Bench]:
        bench = self._benches.get()
        try:
            yield bench
        finally:
            self._benches.put(bench)


class _Bench:
    """The input of one call, and a canvas on each of its frames."""

    def __init__(
        self, batch: int, shape: tuple[int | None, int, int, int], dtype: type, layout: Layout
    ) -> None:
        self.blob: NDArray[np.floating] = np.zeros((batch, *shape[1:]), dtype)
        self.canvases = [Canvas(part, layout.style) for part in self.blob]


def _session(path: Path, options: Options) -> onnxruntime.InferenceSession:
    import onnxruntime

    providers = _providers(options.providers, onnxruntime.get_available_providers())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    # Threads that spin while they wait take the core from the decoder and the other cameras.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except _failures() as error:
        reason = str(error).splitlines()[0][:200]
        raise Invalid(
            f"{path.name} is no model that ONNX Runtime can load ({reason}); {_REMEDY}",
            field="model",
        ) from error


def _providers(wanted: Sequence[str], installed: Sequence[str]) -> list[str]:
    chosen = [PROVIDERS.get(name.lower(), name) for name in wanted] or [PROVIDERS["cpu"]]
    missing = [name for name in chosen if name not in installed]
    if missing:
        short = {full: name for name, full in PROVIDERS.items()}
        usable = ", ".join(short.get(name, name) for name in installed)
        raise Invalid(
            f"execution provider {missing[0]!r} is not installed; use one of {usable}, "
            "or install the build of onnxruntime that has it",
            field="providers",
        )
    return chosen


def _require_file(file: str) -> Path:
    path = Path(file).expanduser()
    problem = ""
    if not file:
        problem = "no model file is named"
    elif not path.exists():
        problem = f"there is no file {file}"
    elif not path.is_file():
        problem = f"{file} is no file"
    elif path.stat().st_size == 0:
        problem = f"{file} is empty"
    elif path.suffix.lower() in (".pt", ".pth"):
        problem = f"{file} is a PyTorch checkpoint (`yolo export model={path.name} format=onnx`)"
    if problem:
        raise Invalid(f"{problem}; {_REMEDY}", field="model")
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _input_of(
    session: onnxruntime.InferenceSession, metadata: Mapping[str, str], name: str
) -> tuple[tuple[int | None, int, int, int], type[np.floating]]:
    """Shape (batch or None where it is dynamic, 3, height, width) and type of the only input."""
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    if (
        len(inputs) != 1
        or len(shape) != 4
        or shape[1] not in (3, None)
        or inputs[0].type not in _TYPES
    ):
        raise Invalid(
            f"model {name!r} takes {[(each.name, each.shape, each.type) for each in inputs]}, "
            f"not one picture as floats of (batch, 3, height, width); {_REMEDY}",
            field="model",
        )
    high, wide = _image_size(metadata)
    batch, _, height, width = (side if isinstance(side, int) else None for side in shape)
    return (batch, 3, height or high, width or wide), _TYPES[inputs[0].type]


def _image_size(metadata: Mapping[str, str]) -> tuple[int, int]:
    """Height and width where the model leaves them open: as exported, else 640."""
    sides = [
        int(part)
        for part in metadata.get("imgsz", "").strip("[]() ").split(",")
        if part.strip().isdigit()
    ]
    return (sides[0], sides[-1]) if sides and min(sides) > 0 else (640, 640)


def _layout(
    name: str, answer: NDArray[np.float32], room: tuple[int, int], metadata: Mapping[str, str]
) -> Layout:
    task = metadata.get("task", "detect")
    if task != "detect":
        raise Invalid(
            f"model {name!r} is made for {task!r}, not to detect; {_REMEDY}", field="model"
        )
    try:
        return recognise(answer, room)
    except Invalid as error:
        raise Invalid(f"model {name!r}: {error}", field="model") from error


def _with_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Boxes of numbers with at least half a pixel each way."""
    sides = boxes[:, 2:] - boxes[:, :2]
    fit: NDArray[np.bool_] = np.all(sides >= 0.5, axis=1) & np.all(np.isfinite(boxes), axis=1)
    return fit


def _described(found: Found, labels: Sequence[str]) -> list[Detection]:
    boxes = found.boxes.astype(np.float64).round(2)
    boxes[:, 2:] -= boxes[:, :2]
    rows = boxes.round(2).tolist()
    scores = np.clip(found.scores.astype(np.float64), 0, 1).round(4).tolist()
    return [
        Detection(label=labels[number], score=score, box=tuple(box))
        for number, score, box in zip(found.classes.tolist(), scores, rows, strict=True)
        if 0 <= number < len(labels)
    ]


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes that share no ancestor but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found: list[Any] = [getattr(state, name) for name in dir(state)]
    own = tuple(each for each in found if isinstance(each, type) and issubclass(each, Exception))
    return (*own, RuntimeError, ValueError)
