"""How metrics are declared: each with its name, type, labels and the service that sets it; some are read at scrape."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shared.clock import Clock

    Samples: TypeAlias = Iterable[tuple[tuple[str, ...], float]]

PREFIX = "vantage_"
_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One metric, for the page that describes them and for whoever checks queries."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...]
    service: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus stores it."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


class Shelf:
    """Declares the metrics that one service sets, in the process's registry."""

    def __init__(self, registry: CollectorRegistry, declared: list[Declared], service: str) -> None:
        self._registry = registry
        self._declared = declared
        self._service = service

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A counter; `_total` is added to its name."""
        self._declare("counter", name, text, labels)
        return Counter(PREFIX + name, text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge."""
        self._declare("gauge", name, text, labels)
        return Gauge(PREFIX + name, text, labels, registry=self._registry)

    def histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        """A histogram with these upper bounds."""
        self._declare("histogram", name, text, labels)
        return Histogram(PREFIX + name, text, labels, registry=self._registry, buckets=buckets)

    def pulled(self, name: str, text: str, *labels: str) -> Pulled:
        """A gauge that is asked for at each scrape."""
        self._declare("gauge", name, text, labels)
        return Pulled(GaugeMetricFamily, PREFIX + name, text, labels, registry=self._registry)

    def pulled_counter(self, name: str, text: str, *labels: str) -> Pulled:
        """A counter that is asked for at each scrape."""
        self._declare("counter", name, text, labels)
        return Pulled(CounterMetricFamily, PREFIX + name, text, labels, registry=self._registry)

    def _declare(
        self,
        kind: Literal["counter", "gauge", "histogram"],
        name: str,
        text: str,
        labels: tuple[str, ...],
    ) -> None:
        self._declared.append(
            Declared(name=PREFIX + name, kind=kind, text=text, labels=labels, service=self._service)
        )


class Pulled(Collector):
    """Values that are asked for at each scrape, from whoever knows them; in a thread, so they await nothing."""

    def __init__(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        text: str,
        labels: tuple[str, ...],
        *,
        registry: CollectorRegistry,
    ) -> None:
        self._family = family
        self._name = name
        self._text = text
        self._labels = labels
        self._asked: list[Callable[[], Samples]] = []
        registry.register(self)

    def ask(self, call: Callable[[], Samples]) -> None:
        """Ask this at each scrape: values by the labels' values, in the order they were declared."""
        self._asked.append(call)

    def describe(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """The family without samples: registering asks nobody."""
        return [self._family(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """The family with what is the case now."""
        family = self._family(self._name, self._text, labels=self._labels)
        for call in list(self._asked):
            with suppress(
                OSError
            ):  # a disk that is gone takes its own figure along, not all others
                for labels, value in call():
                    family.add_metric(labels, value)
        return [family]


class Ages:
    """How long ago the newest of something was, by name, at the moment of the scrape."""

    def __init__(self, pulled: Pulled, clock: Clock) -> None:
        self._clock = clock
        self._newest: dict[str, int] = {}
        pulled.ask(self._samples)

    def touch(self, name: str, at: int) -> None:
        """There is a newer one, of this time (microseconds UTC)."""
        self._newest[name] = max(at, self._newest.get(name, at))

    def forget(self, name: str) -> None:
        """It is no longer ours to look after."""
        self._newest.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._newest

    def _samples(self) -> Samples:
        now = self._clock.now()
        return [((name,), max(0, now - at) / 1_000_000) for name, at in list(self._newest.items())]
