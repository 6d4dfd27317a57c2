"""A lane hands over what waits, in order, and remembers what is bad."""

import random

from schemas.event import Topic
from shared.bus.lane import Lane, Work
from shared.bus.port import Message, Partition, Record
from shared.bus.retry import Backoff
from tests.contract.bus import fact, garbage

TOPIC = Topic(name="t", kind="durable", partitions=1, description="of a test")
PLACE = Partition("t", 0)


def make_lane() -> Lane:
    return Lane(PLACE, Backoff(0.1, 1.0, random.Random(1)))


def record(offset: int, message: Message | None = None) -> Record:
    message = message or fact(TOPIC, "gate", offset)
    return Record(
        partition=PLACE,
        offset=offset,
        key=message.key,
        value=message.value,
        headers=message.headers,
        timestamp=0,
    )


def take(lane: Lane, limit: int) -> Work:
    work = lane.take(limit)
    assert work is not None
    return work


def offsets(work: Work) -> list[int]:
    return [record.offset for record in work.records]


def test_an_empty_lane_has_no_work() -> None:
    assert make_lane().take(5) is None


def test_work_is_bounded_and_ordered() -> None:
    lane = make_lane()
    lane.put([record(n) for n in range(5)])
    assert offsets(take(lane, 3)) == [0, 1, 2]
    work = take(lane, 3)
    assert offsets(work) == [3, 4]
    assert work.batch.next_offset == 5


def test_an_undecodable_record_stands_alone() -> None:
    lane = make_lane()
    lane.put([record(0), record(1, garbage(TOPIC, "gate")), record(2)])
    assert offsets(take(lane, 5)) == [0]
    bad = take(lane, 5)
    assert offsets(bad) == [1]
    assert bad.error is not None
    assert bad.batch.next_offset == 2
    assert offsets(take(lane, 5)) == [2]


def test_an_id_occurs_once_in_a_batch() -> None:
    lane = make_lane()
    lane.put([record(0), record(1, fact(TOPIC, "gate", 0)), record(2)])
    work = take(lane, 5)
    assert [envelope.id for envelope in work.batch.envelopes] == ["gate:0", "gate:2"]
    assert work.batch.next_offset == 3


def test_a_failed_batch_comes_again_one_by_one_and_then_together() -> None:
    lane = make_lane()
    lane.put([record(n) for n in range(6)])
    lane.alone(take(lane, 3).records)
    assert [offsets(take(lane, 3)) for _ in range(4)] == [[0], [1], [2], [3, 4, 5]]


def test_a_parked_record_comes_as_a_batch_without_envelopes() -> None:
    lane = make_lane()
    lane.park(record(1))
    lane.put([record(n) for n in range(3)])
    works = [take(lane, 5) for _ in range(3)]
    assert [len(work.batch.envelopes) for work in works] == [1, 0, 1]
    assert [work.batch.next_offset for work in works] == [1, 2, 3]


def test_holes_are_counted() -> None:
    lane = make_lane()
    assert lane.put([record(5), record(6)]) == 0
    assert lane.put([record(9), record(11)]) == 3
    lane.go_back(2)
    assert lane.put([record(2)]) == 0


def test_attempts_are_counted_until_it_is_finished() -> None:
    lane = make_lane()
    first = lane.failed(record(3), KeyError(), group="g", now=10)
    again = lane.failed(record(3), KeyError(), group="g", now=20)
    assert (first.attempt, again.attempt, again.first_seen) == (1, 2, 10)
    lane.finish(4)
    assert lane.failed(record(3), KeyError(), group="g", now=30).attempt == 1


def test_only_a_lane_that_was_quiet_skips_to_a_position() -> None:
    lane = make_lane()
    quiet = lane.turn
    lane.put([record(0)])
    assert not lane.skip_to(9, quiet)
    take(lane, 5)
    lane.finish(1)
    assert not lane.skip_to(9, quiet)
    assert lane.skip_to(9, lane.turn)
    assert lane.done == 9


def test_the_oldest_are_dropped_first() -> None:
    lane = make_lane()
    lane.put([record(n) for n in range(5)])
    assert lane.drop_oldest(keep=2) == 3
    assert offsets(take(lane, 5)) == [3, 4]
