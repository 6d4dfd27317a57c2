"""Files, folders of pictures and the simulated yard through real reader processes."""

from pathlib import Path

import pytest
from blockbuster import BlockBuster

from schemas.events.camera_configured import Mask
from schemas.events.camera_status_changed import CameraStatusChanged
from schemas.events.stream_marks import StreamAlive, StreamClosed, StreamInterrupted, StreamOpened
from shared import images
from shared.images import pixels
from shared.sim.renderer import Renderer
from shared.sim.scene import Scene
from shared.sim.timestrip import read_time
from tests.engines.fixtures import Data
from tests.integration.ingest.conftest import Ingest, running

SECOND = 1_000_000


async def test_a_film_is_played_once_at_its_own_times(ingest: Ingest, test_data: Data) -> None:
    film = test_data.media("pets09-s2l1-300.mp4")
    await ingest.configure(url=f"file://{film}?rate=max", rate=7.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    frames = ingest.said.frames()
    (opened,) = ingest.said.of(StreamOpened)
    (closed,) = ingest.said.of(StreamClosed)
    assert [frame.seq for frame in frames] == list(range(1, 301))
    offsets = [frame.captured_at - opened.opened_at for frame in frames]
    assert offsets == [index * SECOND // 7 for index in range(300)]
    assert (opened.width, opened.height, opened.epoch) == (768, 576, 1)
    assert opened.period == round(SECOND / 7)
    assert closed.closed_at == frames[-1].captured_at
    assert len(ingest.said.of(StreamAlive)) == 42
    assert sum(bool(frame.motion) for frame in frames) > 250
    assert await ingest.states() == ["connecting", "online", "ended"]


async def test_heartbeats_stand_between_the_frames_in_order(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?duration=20&rate=max", rate=5.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    said = [envelope.event for envelope in ingest.said.envelopes if envelope.topic == "frames"]
    assert isinstance(said[0], StreamOpened)
    assert isinstance(said[-1], StreamClosed)
    times = [event.at for event in said if event is not None]
    assert times == sorted(times)
    (opened,) = ingest.said.of(StreamOpened)
    beats = [beat.alive_at - opened.opened_at for beat in ingest.said.of(StreamAlive)]
    assert beats == [second * SECOND for second in range(1, 20)]


async def test_the_detect_rate_thins_a_film(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?duration=10&fps=20&rate=max", rate=5.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    assert len(ingest.said.frames()) == 50


async def test_pictures_of_the_yard_carry_their_time(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?duration=5&rate=max", rate=5.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    (opened,) = ingest.said.of(StreamOpened)
    for envelope in ingest.said.envelopes:
        if envelope.picture is not None and envelope.event is not None:
            assert read_time(pixels(envelope.picture)) == envelope.event.at - opened.opened_at


async def test_each_pass_of_a_loop_is_an_epoch(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?duration=5&loop=1&rate=max", rate=5.0)
    await ingest.said.until(lambda: len(ingest.said.of(StreamOpened)) >= 4)
    opened = ingest.said.of(StreamOpened)
    assert [mark.epoch for mark in opened[:4]] == [1, 2, 3, 4]
    assert not ingest.said.of(StreamClosed)
    assert not ingest.said.of(StreamInterrupted)
    times = [frame.captured_at for frame in ingest.said.frames()]
    assert times == sorted(set(times))


async def test_masks_are_burned_in_and_can_be_changed_while_it_plays(ingest: Ingest) -> None:
    half = Mask(name="left", points=((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
    await ingest.configure(url="sim://demo?fps=10", rate=10.0, masks=(half,))
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 3)
    first = next(e.picture for e in ingest.said.envelopes if e.picture is not None)
    picture = pixels(first)
    assert not picture[:, :320].any()
    assert picture[:, 330:].mean() > 40
    await ingest.configure(url="sim://demo?fps=10", rate=10.0, masks=(), version=2)
    seen = len(ingest.said.envelopes)
    await ingest.said.until(
        lambda: any(
            pixels(e.picture)[:, :320].any() for e in ingest.said.envelopes[seen:] if e.picture
        )
    )
    assert [mark.epoch for mark in ingest.said.of(StreamOpened)] == [1]


async def test_a_folder_of_pictures_is_a_film(ingest: Ingest, tmp_path: Path) -> None:
    renderer = Renderer(Scene(seed=1), 320, 180)
    for number in range(6):
        (tmp_path / f"{number:03d}.jpg").write_bytes(images.encode(renderer.draw(number * SECOND)))
    await ingest.configure(url=f"images://{tmp_path}?fps=2&rate=max", rate=10.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    frames = ingest.said.frames()
    assert [frame.captured_at - frames[0].captured_at for frame in frames] == [
        number * SECOND // 2 for number in range(6)
    ]


async def test_another_size_in_the_middle_is_another_epoch(ingest: Ingest, tmp_path: Path) -> None:
    for number, width in enumerate((320, 320, 480, 480)):
        picture = Renderer(Scene(seed=1), width, 180).draw(0)
        (tmp_path / f"{number}.png").write_bytes(images.encode(picture))
    await ingest.configure(url=f"images://{tmp_path}?rate=max", rate=10.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    assert [(mark.epoch, mark.width) for mark in ingest.said.of(StreamOpened)] == [
        (1, 320),
        (2, 480),
    ]
    assert [(frame.epoch, frame.seq) for frame in ingest.said.frames()] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"", "empty (0 bytes)"),
        (b"this is no film, it is a letter\n" * 100, "cannot be read as video"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            "read",
        ),
    ],
)
async def test_what_is_no_film_is_named(
    ingest: Ingest, tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    await ingest.configure(name="good", url="sim://demo?fps=10", rate=10.0)
    await ingest.configure(url=f"file://{path}")
    await ingest.said.until(lambda: ingest.state() == "error")
    assert says in ingest.reason()
    assert "film.mp4" in ingest.reason()
    before = len(ingest.said.frames("good"))
    await ingest.said.until(lambda: len(ingest.said.frames("good")) > before + 3)


async def test_a_directory_is_named_with_the_remedy(ingest: Ingest, tmp_path: Path) -> None:
    await ingest.configure(url=f"file://{tmp_path}")
    await ingest.said.until(lambda: ingest.state() == "error")
    assert "is a directory" in ingest.reason()
    assert f"images://{tmp_path}" in ingest.reason()


async def test_a_film_that_was_over_is_not_played_again_by_a_restart(tmp_path: Path) -> None:
    url = "sim://demo?duration=5&rate=max"
    async with running(tmp_path) as first:
        await first.configure(url=url)
        await first.said.until(lambda: first.state() == "ended")
    async with running(tmp_path) as second:
        await second.configure(url=url)
        await second.said.until(lambda: second.state() == "ended")
        assert not second.said.frames()
        (closed,) = second.said.of(StreamClosed)
        said = first.said.of(StreamClosed)[0]
        assert (closed.epoch, closed.closed_at, closed.lease) == (1, said.closed_at, said.lease + 1)
        await second.configure(url=url, enabled=False, version=2)
        await second.said.until(lambda: second.state() == "disabled")
        await second.configure(url=url, enabled=True, version=3)
        await second.said.until(lambda: second.said.of(StreamOpened))
        assert second.said.of(StreamOpened)[0].epoch == 2


async def test_a_removed_camera_says_that_it_is_closed(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?fps=10")
    await ingest.said.until(lambda: ingest.said.frames())
    await ingest.remove("yard")
    await ingest.said.until(lambda: ingest.said.of(StreamClosed))
    assert ingest.said.of(StreamClosed)[0].reason == "the camera was removed"
    await ingest.said.until(lambda: not ingest.state())


async def test_the_event_loop_is_never_held_up(ingest: Ingest, loop_guard: BlockBuster) -> None:
    await ingest.configure(url="sim://demo?duration=10&rate=max")
    await ingest.said.until(lambda: ingest.state() == "ended")
    assert len(ingest.said.frames()) == 50


async def test_figures_tell_what_the_reader_does(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?fps=20", rate=5.0)
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 10)
    stream = ingest.cameras.stream("yard")
    assert stream is not None
    told = stream.figures(2.0)
    assert told is not None
    figures = told.event
    assert isinstance(figures, CameraStatusChanged)
    assert (figures.state, figures.width, figures.height) == ("online", 640, 360)
    assert figures.fps >= 15
    assert figures.sent == len(ingest.said.frames())
    assert figures.dropped == 0
