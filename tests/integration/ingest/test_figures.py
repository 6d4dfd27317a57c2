"""What ingest shows of a camera: whether it is up and how old its newest frame is, for as long as it is ours."""

from tests.integration.ingest.conftest import Ingest


def figures(ingest: Ingest) -> tuple[float | None, float | None]:
    """Up, and the age of the newest frame."""
    value = ingest.studio.metrics.registry.get_sample_value
    camera = {"camera": "yard"}
    return value("vantage_camera_up", camera), value(
        "vantage_camera_last_frame_age_seconds", camera
    )


async def test_a_camera_is_up_while_pictures_come_and_gone_when_it_is_removed(
    ingest: Ingest,
) -> None:
    await ingest.configure(url="sim://demo?fps=10")
    await ingest.said.until(lambda: len(ingest.said.frames()) >= 2)
    up, age = figures(ingest)
    assert up == 1
    assert age is not None
    await ingest.remove("yard")
    await ingest.said.until(lambda: figures(ingest) == (None, None))


async def test_a_camera_that_does_not_answer_is_down(ingest: Ingest) -> None:
    await ingest.configure(url="rtsp://127.0.0.1:9/none")
    await ingest.said.until(lambda: ingest.state() not in ("", "connecting"))
    assert figures(ingest) == (0, None)


async def test_a_film_that_is_over_is_no_camera_that_is_down(ingest: Ingest) -> None:
    await ingest.configure(url="sim://demo?duration=5&rate=max", rate=5.0)
    await ingest.said.until(lambda: ingest.state() == "ended")
    await ingest.said.until(lambda: figures(ingest) == (None, None))
