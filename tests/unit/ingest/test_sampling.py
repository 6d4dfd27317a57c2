"""Sampling: so many pictures a second, evenly, whatever the source's rate."""

import itertools
import random

import pytest

from services.ingest.sampling import Sampler

SECOND = 1_000_000


def taken(rate: float, fps: float, seconds: int = 20, jitter: float = 0.0) -> list[int]:
    chance = random.Random(1)
    sampler = Sampler(rate, fps)
    offsets = [
        max(0, round((n + chance.uniform(-jitter, jitter)) * SECOND / fps))
        for n in range(round(seconds * fps))
    ]
    return [offset for offset in offsets if sampler.take(offset)]


@pytest.mark.parametrize(
    ("rate", "fps"), [(5, 25), (5, 30), (5, 7), (2, 7), (7, 25), (10, 12.5), (1, 25)]
)
def test_the_rate_is_kept(rate: float, fps: float) -> None:
    offsets = taken(rate, fps)
    assert len(offsets) == pytest.approx(rate * 20, rel=0.06)
    gaps = [after - before for before, after in itertools.pairwise(offsets)]
    assert max(gaps) <= SECOND / rate + SECOND / fps
    assert min(gaps) >= SECOND / rate - SECOND / fps


@pytest.mark.parametrize(("rate", "fps"), [(7, 7), (25, 25), (30, 10), (60, 12.5), (7, 7.1)])
def test_a_rate_as_high_as_the_source_takes_every_picture(rate: float, fps: float) -> None:
    assert len(taken(rate, fps, jitter=0.3)) == round(20 * fps)


def test_the_first_picture_is_always_taken() -> None:
    assert Sampler(0.1, 25).take(0)


def test_after_a_gap_it_does_not_catch_up() -> None:
    sampler = Sampler(5, 0)
    assert sampler.take(0)
    assert sampler.take(10 * SECOND)
    assert not sampler.take(10 * SECOND + 50_000)


def test_the_period_is_that_of_what_is_sent() -> None:
    assert Sampler(5, 25).period == 200_000
    assert Sampler(30, 7).period == 142_857
    assert Sampler(5, 0).period == 200_000
