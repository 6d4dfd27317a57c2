"""Loading a stateful stage: its state and the position in the log that belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.bus.port import Partition, Subscription


async def load_stage(subscription: Subscription, partition: Partition) -> int | None:
    """Have the owner load its state; returns where to read on, None where no positions are stored.

    Both are of one checkpoint: a member that has lost the partition without knowing it may save one between the two
    reads, and then the state is loaded again.
    """
    while True:
        start = await _position(subscription, partition)
        if subscription.owner is not None:
            await subscription.owner.assigned(partition)
        if await _position(subscription, partition) == start:
            return start


async def _position(subscription: Subscription, partition: Partition) -> int | None:
    if subscription.positions is None:
        return None
    return await subscription.positions.load(subscription.group, partition) or 0
