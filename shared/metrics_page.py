"""The page that describes every metric, made from what is declared, so that it cannot say anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contracts import NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.shelves import Declared

HEAD = f"""\
# Metrics

{NOTICE}

Each process serves its own on `http://127.0.0.1:<metrics port>/metrics` (VANTAGE_METRICS_PORT; by default the HTTP
port + 1000), beside `process_*` and `python_*` of the Prometheus client. How to scrape and what to look at first:
[observability.md](observability.md). Times of events come from the camera's host and "now" from the host that
measures: where their clocks differ, a difference below zero counts as zero. Figures of a database (what waits in an
outbox, deliveries, sessions) are the same from each process on it: take their maximum, not their sum.
"""


def page(declared: Iterable[Declared]) -> str:
    """The page as Markdown, one table a service."""
    services: dict[str, list[Declared]] = {}
    for one in declared:
        services.setdefault(one.service, []).append(one)
    parts = [HEAD]
    for service, metrics in services.items():
        parts.append(f"\n## {service[0].upper()}{service[1:]}\n\n{_table(metrics)}")
    return "".join(parts)


def _table(metrics: Iterable[Declared]) -> str:
    lines = ["| metric | type | labels | what |", "|---|---|---|---|"]
    for one in metrics:
        name = one.series[0] if one.kind == "counter" else one.name
        labels = ", ".join(f"`{label}`" for label in one.labels) or "-"
        lines.append(f"| `{name}` | {one.kind} | {labels} | {one.text} |")
    return "\n".join(lines) + "\n"
