"""Names of metrics follow Prometheus' guide; each is documented; what is scraped is what was declared."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.metrics import Metrics
from shared.metrics_page import page
from shared.shelves import Declared
from tests.engines.folders import ROOT

DECLARED = Metrics().declared
UNITS = ("seconds", "bytes", "ratio", "info", "connections")
# Words that look like units of time, size or share, and are not the base unit.
FOREIGN = re.compile(r"_(ms|millis|milliseconds|micros|minutes|hours|kb|mb|percent)(_|$)")


@pytest.mark.parametrize("one", DECLARED, ids=lambda one: str(one.name))
def test_a_name_follows_the_guide(one: Declared) -> None:
    assert re.fullmatch(r"vantage_[a-z][a-z0-9_]*[a-z0-9]", one.name)
    assert not FOREIGN.search(one.name)
    assert not one.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert set(one.labels).isdisjoint({"job", "instance", "le", "quantile"})
    assert one.text.endswith(".")
    if one.kind == "histogram" and "per_frame" not in one.name:
        assert one.name.endswith("_seconds")


def test_no_name_occurs_twice() -> None:
    names = [one.name for one in DECLARED]
    assert sorted(set(names)) == sorted(names)


def test_the_page_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == page(DECLARED), "run `make contracts`"


def test_what_is_scraped_is_what_was_declared() -> None:
    metrics = Metrics()
    families = text_string_to_metric_families(metrics.exposition().decode())
    scraped = {family.name for family in families if family.name.startswith("vantage_")}
    assert scraped == {one.name for one in DECLARED}


def test_every_metric_is_set_somewhere() -> None:
    """A metric that nobody sets is a promise that nobody keeps: each attribute is used outside its declaration."""
    code = "\n".join(
        path.read_text()
        for folder in ("shared", "services")
        for path in Path(ROOT / folder).rglob("*.py")
        if path.name != "metrics.py" or path.parent.name != "shared"
    )
    own = (ROOT / "shared" / "metrics.py").read_text()
    attributes = re.findall(
        r"self\.(\w+) = \w+(?:\(EVERY\))?\.(?:counter|gauge|histogram|pulled)", own
    )
    assert len(attributes) > 40
    observed = own[own.index("    def reached") :]
    unused = [
        name for name in attributes if not re.search(rf"\b_?metrics\.{name}\b", code + observed)
    ]
    assert unused == []
