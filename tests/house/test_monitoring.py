"""Rules and dashboard ask for what is there: each metric and label that a query names is declared, each alert is tried."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from shared.metrics import Metrics
from tests.engines.folders import ROOT
from tests.engines.require import missing_engine

MONITORING = ROOT / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
TESTS = sorted((MONITORING / "rules" / "tests").glob("*.yml"))
DASHBOARD = MONITORING / "grafana" / "vantage.json"
TARGET = {"job", "instance"}  # what Prometheus itself puts on each series
# Of the Prometheus client, in every process, and of Prometheus itself.
GIVEN = {
    "up",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
}
TEXT = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
RANGE = re.compile(r"\[[^\]]*\]")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?")
MATCHER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}


class Query(NamedTuple):
    """An expression, and where it stands."""

    place: str
    text: str


class Asked(NamedTuple):
    """A metric in a query, and the labels that it is asked by."""

    metric: str
    labels: frozenset[str]


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def panels() -> list[dict[str, Any]]:
    return [one for one in json.loads(DASHBOARD.read_text())["panels"] if one["type"] != "row"]


def queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(rule.get("alert") or rule["record"], rule["expr"])
    for panel in panels():
        for target in panel["targets"]:
            yield Query(f"panel {panel['title']}", target["expr"])


QUERIES = list(queries())


def asked(text: str) -> list[Asked]:
    """Every metric that an expression selects, with the labels of its matchers."""
    plain = RANGE.sub("", GROUPING.sub("", TEXT.sub('""', text)))
    found = []
    for match in SELECTOR.finditer(plain):
        name, braces = match[1], match[2] or ""
        called = plain[match.end(1) :].lstrip().startswith("(")
        if (
            name not in WORDS
            and not called
            and not plain[match.start() - 1 : match.start()].isdigit()
        ):
            found.append(Asked(name, frozenset(MATCHER.findall(braces))))
    return found


def grouped(text: str) -> set[str]:
    """Every label that an expression groups or matches by."""
    plain = TEXT.sub('""', text)
    return {one.strip() for group in GROUPING.findall(plain) for one in group.split(",")} - {""}


def known() -> dict[str, set[str]]:
    """The labels of every series that there is, what rules record among them."""
    series: dict[str, set[str]] = {name: set() for name in GIVEN}
    for one in Metrics().declared:
        for name in one.series:
            series[name] = {*one.labels, *({"le"} if name.endswith("_bucket") else set())}
    for rule in rules():
        if "record" in rule:
            series[rule["record"]] = grouped(rule["expr"]) - {"le"}
    return series


def test_the_reader_of_queries_reads_them() -> None:
    text = (
        "histogram_quantile(0.95, sum by (stage, le) (rate(a_bucket{x=\"b{c}\", y=~'z'}[5m]))) "
        "/ on (stage) group_left () sum without (le) (d:e:f offset 5m) > 1e3 and count(g) > bool 2"
    )
    assert asked(text) == [
        Asked("a_bucket", frozenset({"x", "y"})),
        Asked("d:e:f", frozenset()),
        Asked("g", frozenset()),
    ]
    assert grouped(text) == {"stage", "le"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: str(query.place))
def test_a_query_asks_for_metrics_and_labels_that_there_are(query: Query) -> None:
    there = known()
    found = asked(query.text)
    assert found, f"{query.text} asks for nothing"
    assert {one.metric for one in found} - there.keys() == set()
    for one in found:
        assert one.labels - there[one.metric] - TARGET == set(), one.metric
    labels = set().union(*(there[one.metric] for one in found))
    assert grouped(query.text) - labels - TARGET == set()


def test_each_legend_names_labels_that_its_query_keeps() -> None:
    there = known()
    wrong = []
    for panel in panels():
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = grouped(target["expr"]) or set().union(
                *(there[one.metric] for one in asked(target["expr"]))
            )
            if named - kept - TARGET:
                wrong.append((panel["title"], named - kept))
    assert wrong == []


def test_the_panels_lie_side_by_side_and_are_told_apart() -> None:
    every = json.loads(DASHBOARD.read_text())["panels"]
    assert len({one["id"] for one in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for one in every:
        at = one["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, one["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_says_how_bad_it_is_and_what_to_do_and_is_tried() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    tried = "\n".join(path.read_text() for path in TESTS)
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"].keys() == {"summary", "remedy"}
        assert f'alertname="{alert["alert"]}"' in tried or f"alertname: {alert['alert']}" in tried
    assert len(alerts) == len({alert["alert"] for alert in alerts})


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        missing_engine("promtool is not installed (Debian: prometheus)")
    return found


def run(*arguments: str) -> None:
    ended = subprocess.run(
        [promtool(), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.stem))
def test_the_rules_do_what_their_tests_say(path: Path) -> None:
    run("test", "rules", str(path))


def test_the_example_configuration_is_one() -> None:
    run("check", "config", str(MONITORING / "prometheus.yml"))


def test_the_dashboards_queries_are_well_formed(tmp_path: Path) -> None:
    """Prometheus' own parser reads them, as rules of a file made for it."""
    made = [
        {"record": f"panel:query_{number}:x", "expr": one.text.replace("$__rate_interval", "1m")}
        for number, one in enumerate(QUERIES)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    run("check", "rules", str(file))


def test_what_is_scraped_passes_prometheus_own_linter() -> None:
    """`promtool check metrics` knows the naming guide; what it says of the client library's own is not ours."""
    metrics = Metrics()
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase) and one._labelnames:
            one.labels(*("x" for _ in one._labelnames))  # the linter sees what has a sample
    ended = subprocess.run(
        [promtool(), "check", "metrics"],
        input=metrics.exposition(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    said = [line for line in ended.stderr.decode().splitlines() if line.startswith("vantage_")]
    assert said == []
