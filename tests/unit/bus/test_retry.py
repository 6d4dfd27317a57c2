"""Waits between tries."""

import random

from shared.bus.retry import Backoff


def test_waits_grow_under_a_cap_with_full_jitter() -> None:
    rounds = [Backoff(0.1, 5.0, random.Random(seed)) for seed in range(300)]
    for tries in range(12):
        waits = [backoff.next() for backoff in rounds]
        ceiling = min(5.0, 0.1 * 2**tries)
        assert max(waits) <= ceiling
        assert min(waits) < 0.1 * ceiling
        assert max(waits) > 0.9 * ceiling


def test_a_success_starts_small_again() -> None:
    backoff = Backoff(0.1, 5.0, random.Random(1))
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 0.1
