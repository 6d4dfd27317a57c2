"""aiokafka's errors as ours: what may pass on another try, what never will, and what the caller must know."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    KafkaStorageError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
)

from shared.errors import Poison, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

REMEDIES = {
    GroupAuthorizationFailedError: "give this login Read on our groups",
    KafkaStorageError: "a broker cannot write to its disk: look for a full or read-only file system",
    NotEnoughReplicasAfterAppendError: "too few replicas are in sync: start the brokers that are away",
    NotEnoughReplicasError: "too few replicas are in sync: start the brokers that are away",
    TopicAuthorizationFailedError: "give this login Read and Write on our topics",
}


@contextmanager
def refusals(reason: str) -> Iterator[None]:
    """What may pass on another try is Transient; what is the caller's to know keeps its class."""
    try:
        yield
    except (CommitFailedError, IllegalStateError):
        raise
    except MessageSizeTooLargeError as error:
        raise Poison(f"the record is too large for Kafka: {error}") from error
    except (TimeoutError, KafkaError) as error:
        remedy = REMEDIES.get(type(error))
        raise Transient(f"{reason}: {error!r}{f'; {remedy}' if remedy else ''}") from error
