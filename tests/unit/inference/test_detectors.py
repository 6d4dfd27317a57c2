"""Models are loaded once, in a thread, tried again when they failed, and reported with the remedy."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.inference.backends.port import Detector, Options
from services.inference.detectors import RETRY_S, Detectors
from shared.clock import ManualClock
from shared.errors import Invalid
from tests.unit.inference import graphs
from tests.unit.inference.events import plan
from tests.unit.inference.test_stage import Brightest


class Shelf:
    """Loads what is on it, and counts."""

    def __init__(self, *models: str) -> None:
        self.models = set(models)
        self.asked: list[str] = []

    def load(self, model: str, backend: str, options: Options) -> Detector:
        self.asked.append(f"{backend}:{model}")
        if model not in self.models:
            raise Invalid(f"there is no file {model}", field="model")
        return Brightest()


def subject(shelf: Shelf, clock: ManualClock | None = None, **wishes: str) -> Detectors:
    return Detectors(Options(), clock or ManualClock(), load=shelf.load, **wishes)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def test_a_model_is_loaded_once_in_the_background() -> None:
    shelf = Shelf("a.onnx")
    detectors = subject(shelf)
    wish = plan(model="a.onnx")
    assert detectors.detector_of(wish) is None
    assert detectors.health({"yard": wish}).reason == "loading"
    job = asyncio.create_task(detectors.run())
    await until(lambda: detectors.detector_of(wish) is not None)
    assert detectors.detector_of(wish) is detectors.detector_of(plan("hall", model="a.onnx"))
    assert shelf.asked == ["onnx:a.onnx"]
    health = detectors.health({"yard": wish})
    assert health.status == "healthy"
    assert health.details["models"] == {
        "onnx:a.onnx": {"state": "ready", "version": "brightest@abc", "simulated": False}
    }
    job.cancel()


async def test_without_a_model_the_remedy_is_named() -> None:
    detectors = subject(Shelf())
    assert detectors.health({}).reason == "no_model"
    wishes = {"yard": plan(), "hall": plan("hall", backend="scripted")}
    assert detectors.detector_of(wishes["yard"]) is None
    health = detectors.health(wishes)
    assert (health.status, health.reason) == ("degraded", "no_model")
    assert health.details["cameras"] == ["yard"]
    assert "VANTAGE_INFERENCE_MODEL" in str(health.details["remedy"])


async def test_a_model_that_fails_harms_no_other_and_is_tried_again_later() -> None:
    shelf, clock = Shelf("good.onnx"), ManualClock()
    detectors = subject(shelf, clock, default="good.onnx")
    bad = plan("hall", model="bad.onnx")
    job = asyncio.create_task(detectors.run())
    detectors.want_default()
    detectors.want(bad)
    await until(lambda: len(shelf.asked) == 2 and detectors.detector_of(plan()) is not None)
    await until(lambda: detectors.health({"hall": bad}).reason != "loading")
    health = detectors.health({"yard": plan(), "hall": bad})
    assert (health.status, health.reason) == (
        "degraded",
        "model_failed: there is no file bad.onnx",
    )
    assert detectors.detector_of(bad) is None
    assert len(shelf.asked) == 2
    shelf.models.add("bad.onnx")
    clock.advance(RETRY_S + 1)
    assert detectors.detector_of(bad) is None
    await until(lambda: detectors.detector_of(bad) is not None)
    job.cancel()


async def test_an_unknown_back_end_leaves_its_camera_without_a_model() -> None:
    detectors = subject(Shelf("m.onnx"), default="m.onnx")
    odd = plan(backend="crystal-ball", model="x")
    assert detectors.detector_of(odd) is None
    details = detectors.health({"yard": odd}).details
    assert details["cameras"] == ["yard"]
    assert "'crystal-ball' is unknown" in str(details["plans"])


@pytest.mark.parametrize(
    ("wishes", "asked", "expected"),
    [
        ({"default": "m.onnx"}, {}, "onnx:m.onnx"),
        ({"default": "scripted:sim"}, {}, "scripted:sim"),
        ({"backend": "scripted"}, {}, "scripted:"),
        ({"default": "m.onnx"}, {"backend": "scripted"}, "scripted:"),
        ({"default": "m.onnx"}, {"model": "n.onnx"}, "onnx:n.onnx"),
        ({"default": "m.onnx"}, {"backend": "onnx"}, "onnx:m.onnx"),
        ({"default": "m.onnx"}, {"model": "scripted:sim?seed=2"}, "scripted:sim?seed=2"),
    ],
)
def test_a_plan_says_which_model_or_the_default_serves(
    wishes: dict[str, str], asked: dict[str, str], expected: str
) -> None:
    shelf = Shelf("", "m.onnx", "n.onnx", "sim", "sim?seed=2")
    subject(shelf, **wishes).open(plan(**asked))  # type: ignore[arg-type]  # strings only
    assert shelf.asked == [expected]


def test_offline_a_model_is_opened_at_once_and_kept(tmp_path: Path) -> None:
    file = graphs.save(tmp_path / "m.onnx", graphs.end_to_end([]))
    detectors = Detectors(Options(), ManualClock(), default=str(file))
    assert detectors.open(plan()) is detectors.open(plan("hall"))
    with pytest.raises(Invalid, match="no detection model is named; set VANTAGE_INFERENCE_MODEL"):
        Detectors(Options(), ManualClock()).open(plan())
