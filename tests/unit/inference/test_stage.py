"""The stage: marks in order, one event a frame, fencing, ids that follow from the frames'."""

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from schemas.cloudevents import JpegPicture
from schemas.event import Envelope
from schemas.events.detections_made import Detection, DetectionsMade
from schemas.events.plan_decided import PlanDecided
from schemas.events.stream_marks import StreamClosed, StreamOpened
from services.inference.backends.port import Detector, Frame, Model
from services.inference.look import Look, look_at
from services.inference.stage import DetectStage
from shared.errors import Invalid
from shared.images import Bitmap, encode
from tests.unit.inference.events import (
    HEIGHT,
    PERIOD,
    SECOND,
    START,
    WIDTH,
    alive,
    closed,
    frame,
    opened,
    plan,
)


class Brightest:
    """Sees one box in each frame that is not black: around all bright pixels."""

    def __init__(self, *, simulated: bool = False) -> None:
        self.model = Model(name="brightest", digest="abc", labels=("spot",), simulated=simulated)
        self.shown: list[tuple[int, ...]] = []
        self.elapsed: list[int] = []

    def detect(
        self, frames: Sequence[Frame], *, threshold: float, nms: float, classes: Collection[str]
    ) -> list[list[Detection]]:
        self.shown += [each.pixels.shape for each in frames]
        self.elapsed += [each.elapsed for each in frames]
        return [self._one(each) for each in frames]

    def close(self) -> None: ...

    def _one(self, frame: Frame) -> list[Detection]:
        rows, columns = np.nonzero(frame.pixels[..., 1] > 100)
        if not len(rows):
            return []
        left, top = float(columns.min()), float(rows.min())
        box = (left, top, float(columns.max()) + 1 - left, float(rows.max()) + 1 - top)
        return [Detection(label="spot", score=0.9, box=box)]


def stage(
    detector: Detector | None = None,
    wish: PlanDecided | None = plan(),  # noqa: B008 - a value
) -> DetectStage:
    return DetectStage(plan_of=lambda _: wish, detector_of=lambda _: detector)


def made(envelopes: Sequence[Envelope]) -> DetectionsMade:
    assert len(envelopes) == 1
    assert isinstance(envelopes[0].event, DetectionsMade)
    assert envelopes[0].topic == "detections"
    return envelopes[0].event


def spot(left: int, top: int, width: int, height: int) -> Bitmap:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[top : top + height, left : left + width] = 255
    return Bitmap(pixels)


def test_one_event_a_frame_and_every_mark_in_order() -> None:
    subject = stage(Brightest())
    said = [
        each
        for envelope in [opened(), frame(1), frame(2), alive(1), frame(3), closed()]
        for each in subject.run(envelope)
    ]
    kinds = [type(each.event).__name__ for each in said]
    assert kinds == [
        "StreamOpened",
        "DetectionsMade",
        "DetectionsMade",
        "StreamAlive",
        "DetectionsMade",
        "StreamClosed",
    ]
    assert {each.topic for each in said} == {"detections"}
    assert {each.key for each in said} == {"yard"}


def test_an_event_says_what_was_seen_and_what_made_it() -> None:
    subject = stage(Brightest(), plan(version=7))
    subject.run(opened())
    event = made(subject.run(frame(1, picture=spot(100, 50, 30, 60))))
    assert event == DetectionsMade(
        camera="yard",
        epoch=1,
        seq=1,
        captured_at=START,
        width=WIDTH,
        height=HEIGHT,
        lease=1,
        coverage="full",
        period=PERIOD,
        model="brightest@abc",
        plan=7,
        detections=(Detection(label="spot", score=0.9, box=(100, 50, 30, 60)),),
    )


def test_ids_follow_from_the_frames_and_from_nothing_else() -> None:
    first = stage(Brightest()).run(frame(1))[0]
    second = stage(None).run(frame(1))[0]
    assert first.id == second.id
    assert first.id != stage(None).run(frame(2))[0].id
    assert first.correlation == frame(1).id
    mark = stage(None).run(opened())[0]
    assert mark.id == stage(Brightest()).run(opened())[0].id != opened().id


def test_a_region_is_cut_out_and_its_boxes_are_put_back() -> None:
    detector = Brightest()
    subject = stage(detector)
    subject.run(opened())
    subject.run(frame(1))
    moving = (600.0, 300.0, 40.0, 80.0)
    event = made(subject.run(frame(2, motion=(moving,), picture=spot(610, 310, 20, 60))))
    assert detector.shown == [(HEIGHT, WIDTH, 3), (320, 320, 3)]
    assert event.coverage == "regions"
    assert event.regions == ((460.0, 180.0, 320.0, 320.0),)
    assert [seen.box for seen in event.detections] == [(610, 310, 20, 60)]


def test_a_box_that_the_region_cuts_is_left_out() -> None:
    subject = stage(Brightest())
    subject.run(frame(1))
    moving = (600.0, 300.0, 40.0, 80.0)
    cut = made(subject.run(frame(2, motion=(moving,), picture=spot(610, 310, 20, 300))))
    assert cut.detections == ()


def test_at_the_edge_of_the_frame_nothing_is_cut() -> None:
    subject = stage(Brightest())
    subject.run(frame(1))
    corner = (1200.0, 650.0, 40.0, 70.0)
    event = made(subject.run(frame(2, motion=(corner,), picture=spot(1210, 660, 70, 60))))
    assert event.coverage == "regions"
    assert [seen.box for seen in event.detections] == [(1210, 660, 70, 60)]


def test_a_script_is_shown_the_whole_frame() -> None:
    detector = Brightest(simulated=True)
    subject = stage(detector)
    subject.run(frame(1))
    moving = (600.0, 300.0, 40.0, 80.0)
    event = made(subject.run(frame(2, motion=(moving,), picture=spot(10, 10, 20, 20))))
    assert detector.shown[1] == (HEIGHT, WIDTH, 3)
    assert event.simulated
    assert event.coverage == "regions"
    assert event.detections == ()


@pytest.mark.parametrize("wish", [None, plan()])
def test_without_plan_or_model_the_clock_goes_on(wish: PlanDecided | None) -> None:
    subject = stage(None, wish)
    subject.run(opened())
    event = made(subject.run(frame(1)))
    assert (event.coverage, event.model, event.detections) == ("none", "", ())
    assert event.period == PERIOD


def test_a_still_frame_says_that_nobody_looked() -> None:
    detector = Brightest()
    subject = stage(detector)
    subject.run(frame(1))
    event = made(subject.run(frame(2)))
    assert (event.coverage, event.model, event.simulated) == ("none", "", False)
    assert len(detector.shown) == 1


def test_a_failed_look_says_that_nobody_looked_and_is_made_up_for() -> None:
    subject = stage(Brightest())
    begun = subject.begin(frame(1), skipped=4)
    assert isinstance(begun, Look)
    event = made([subject.fail(begun)])
    assert (event.coverage, event.model, event.skipped) == ("none", "", 4)
    assert made(subject.run(frame(2))).coverage == "full"


def test_skipped_frames_are_said() -> None:
    subject = stage(Brightest())
    begun = subject.begin(frame(4), skipped=3)
    assert isinstance(begun, Look)
    assert made([subject.finish(begun, look_at(begun))]).skipped == 3


def test_a_former_lease_holder_is_not_heard() -> None:
    subject = stage(Brightest())
    assert subject.run(frame(1, lease=2))
    assert subject.run(frame(2, lease=1)) == []
    assert subject.run(alive(1, lease=1)) == []
    assert subject.run(opened(lease=1, epoch=9)) == []
    assert subject.run(frame(2, lease=2))


def test_what_comes_twice_is_said_once() -> None:
    subject = stage(Brightest())
    for envelope in [opened(), frame(1), frame(2), alive(1)]:
        assert subject.run(envelope)
    for envelope in [opened(), frame(1), frame(2), alive(1)]:
        assert subject.run(envelope) == []
    assert subject.run(frame(1, epoch=2))


def test_a_new_epoch_and_a_new_owner_begin_with_a_full_look() -> None:
    subject = stage(Brightest())
    subject.run(frame(1))
    assert made(subject.run(frame(2))).coverage == "none"
    assert made(subject.run(frame(1, epoch=2))).coverage == "full"
    assert made(subject.run(frame(2, epoch=2))).coverage == "none"
    subject.forget("yard")
    assert made(subject.run(frame(3, epoch=2))).coverage == "full"


def test_the_period_is_that_of_the_plan_where_it_thins() -> None:
    subject = stage(Brightest(), plan(rate=2))
    subject.run(opened())
    assert made(subject.run(frame(1))).period == SECOND // 2
    fast = stage(Brightest(), plan(rate=0.1, every_frame=True))
    fast.run(opened())
    assert made(fast.run(frame(1))).period == PERIOD


def test_the_detector_is_told_the_time_since_the_stream_was_opened() -> None:
    detector = Brightest()
    subject = stage(detector, plan(every_frame=True))
    subject.run(opened(at=START - SECOND))
    subject.run(frame(1))
    subject.run(frame(1, epoch=2))
    assert detector.elapsed == [SECOND, 0]


def test_a_jpeg_off_the_log_is_unpacked() -> None:
    picture = JpegPicture(encode(spot(64, 64, 64, 64).pixels()))
    event = made(stage(Brightest()).run(frame(1, picture=picture)))
    assert event.detections[0].box == pytest.approx((64, 64, 64, 64), abs=2)


def test_a_picture_that_is_not_what_its_event_says_is_refused() -> None:
    small = Bitmap(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(Invalid, match="is 10x10; its event says 1280x720"):
        stage(Brightest()).run(frame(1, picture=small))
    with pytest.raises(Invalid, match="neither JPEG nor PNG"):
        stage(Brightest()).run(frame(1, picture=JpegPicture(b"noise")))


def test_cameras_do_not_touch_each_other() -> None:
    subject = stage(Brightest())
    subject.run(frame(5, camera="yard", lease=9))
    assert made(subject.run(frame(1, camera="hall"))).coverage == "full"
    kinds = [
        type(subject.run(mark)[0].event) for mark in (opened(camera="hall"), closed(camera="hall"))
    ]
    assert kinds == [StreamOpened, StreamClosed]
