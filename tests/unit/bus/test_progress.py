"""What an engine's health makes of members and lanes."""

import pytest

from shared.bus.progress import Progress


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
