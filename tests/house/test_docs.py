"""What the documents point at is there."""

import re
from pathlib import Path

import pytest

from shared.metrics import Metrics
from tests.engines.folders import ROOT
from tests.house import tree

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
METRIC = re.compile(r"\bvantage_[a-z0-9_]+_(?:total|seconds|bytes|ratio|info|depth|lag)\b")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
TARGET = re.compile(r"`make ([a-z]+)`")
COMMAND = re.compile(r"`vantage ([a-z-]+)")
PAGES = [path for path in tree.files() if path.suffix == ".md"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not leads(page, link)]
    assert broken == []


def leads(page: Path, link: str) -> bool:
    if link.startswith(("http://", "https://", "mailto:")):
        return True
    target, _, anchor = link.partition("#")
    there = (page.parent / target).resolve() if target else page
    return there.exists() and (not anchor or anchor in anchors(there))


def anchors(page: Path) -> set[str]:
    """As code hosts make them: lower case, punctuation dropped, spaces to hyphens."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_named_in_documents_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(TARGET.findall(page.read_text()))
    assert {target for target in named if f"\n{target}:" not in makefile} == set()


def test_metrics_named_in_documents_exist() -> None:
    declared = Metrics().declared
    known = {one.name for one in declared} | {name for one in declared for name in one.series}
    named = {m for page in PAGES for m in METRIC.findall(page.read_text())}
    assert named - known == set()
