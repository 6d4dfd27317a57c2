"""A stage's state and its position are of one checkpoint, also when another member saves one in between."""

from typing import Any

from schemas.topics import DETECTIONS
from shared.bus.port import Batch, Partition, Subscription
from shared.bus.stages import load_stage

PLACE = Partition("detections", 3)


class Shelf:
    """Checkpoints that a member which has lost the partition goes on saving. Owner and positions in one."""

    def __init__(self, saved: list[int]) -> None:
        self._saved = saved  # what stands there, one reading of the state after the other
        self.offset = saved[0]
        self.state = -1  # the offset that the loaded state is true for

    async def load(self, _group: str, _partition: Partition) -> int | None:
        return self.offset or None

    async def assigned(self, _partition: Partition) -> None:
        self.state = self.offset
        if len(self._saved) > 1:
            self._saved.pop(0)
            self.offset = self._saved[0]

    async def revoked(self, _partition: Partition) -> None:
        """Nothing."""

    async def save(self, *_: Any) -> None:
        """Nothing."""


async def nothing(_batch: Batch) -> None:
    """Nothing."""


def stage(shelf: Shelf, *, positions: bool = True) -> Subscription:
    return Subscription(
        topics=(DETECTIONS,),
        handler=nothing,
        group="stage",
        positions=shelf if positions else None,
        owner=shelf,
    )


async def test_what_stands_is_loaded() -> None:
    shelf = Shelf([7])
    assert await load_stage(stage(shelf), PLACE) == shelf.state == 7


async def test_a_checkpoint_that_comes_in_between_is_loaded_as_a_whole() -> None:
    shelf = Shelf([7, 9, 12])
    assert await load_stage(stage(shelf), PLACE) == shelf.state == 12


async def test_where_nothing_stands_it_begins_at_the_beginning() -> None:
    assert await load_stage(stage(Shelf([0])), PLACE) == 0


async def test_a_stage_without_positions_is_told_of_its_partition_once() -> None:
    shelf = Shelf([7, 9])
    assert await load_stage(stage(shelf, positions=False), PLACE) is None
    assert shelf.state == 7
