"""What an engine's health makes of members and lanes."""

import random

import pytest

from shared.bus.lane import Lane
from shared.bus.port import Partition
from shared.bus.progress import Progress
from shared.bus.retry import Backoff


def test_a_member_that_joins_for_ever_is_stuck_though_nothing_lags() -> None:
    progress = Progress("group", stuck=60.0)
    progress.member(False, 0.0)
    progress.member(False, 50.0)
    assert progress.health([], 60.0, "").status == "degraded"
    health = progress.health([], 60.1, "")
    assert health.status == "unhealthy"
    assert "stuck" in health.details, "the watchdog restarts it"


@pytest.mark.parametrize("again", [70.0, 1000.0])
def test_a_member_that_joined_with_nothing_to_do_is_not_stuck(again: float) -> None:
    progress = Progress("group", stuck=60.0)
    progress.member(False, 0.0)
    progress.member(True, 30.0)
    assert "stuck" not in progress.health([], again, "").details
    progress.member(False, again)
    assert "stuck" not in progress.health([], again + 60.0, "").details


def lane(done: int) -> Lane:
    found = Lane(Partition("t", 0), Backoff(1.0, 1.0, random.Random(1)))
    found.done = found.committed = done
    return found


def test_lag_without_progress_is_stuck_after_the_limit() -> None:
    progress, one = Progress("group", stuck=60.0), lane(3)
    for second in range(61):
        progress.look(one, 10, float(second))
    assert progress.stuck(60.0) == []
    progress.look(one, 10, 61.0)
    assert progress.stuck(61.0) == [one.partition]
    one.committed = 4
    progress.look(one, 10, 62.0)
    assert progress.stuck(62.0) == []


def test_time_in_which_the_log_was_away_is_not_held_against_a_consumer() -> None:
    progress, one = Progress("group", stuck=60.0), lane(3)
    progress.look(one, 10, 0.0)
    progress.look(one, 10, 55.0)
    assert progress.stuck(60.0) == []
    progress.look(one, 10, 56.0)
    assert progress.stuck(60.5) == []


def test_a_consumer_that_hears_nothing_of_the_log_for_too_long_is_restarted() -> None:
    """Its client may be dead though the brokers are well."""
    progress, one = Progress("group", stuck=60.0), lane(10)
    progress.look(one, 10, 0.0)
    assert progress.stuck(60.0) == []
    assert progress.stuck(60.1) == [one.partition]
