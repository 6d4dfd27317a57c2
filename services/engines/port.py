"""What an engine is to us: how it is found, prepared, started, and where services reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from services.engines.places import Place


class Engine(Protocol):
    """One engine.

    name: of its folder and of its lines in the log.
    setting: the platform's setting that its URL goes to, e.g. `bus_url`.
    ready: what it prints once clients can work.
    ends_by: the signal for an end in good order that does not wait for clients.
    dies_by: what the kernel sends it when whoever started it was killed.
    """

    name: str
    setting: str
    ready: bytes
    ends_by: signal.Signals
    dies_by: signal.Signals

    def missing(self) -> str:
        """What this machine lacks to run it, with the remedy; empty where it can run."""
        ...

    def prepare(self, place: Place) -> None:
        """Make its data at the first start, and write its settings at each.

        Raises:
            Setup: it cannot be made there.
        """
        ...

    def command(self, place: Place) -> Sequence[str]:
        """How it is started."""
        ...

    def url(self, place: Place) -> str:
        """Where services reach it."""
        ...
