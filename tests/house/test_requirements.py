"""The hashed sets fit pyproject.toml, close over themselves, and carry no address."""

import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.engines.folders import ROOT
from tests.house import tree

SETS = {
    "slim": (),
    "vision": ("vision",),
    "dev": ("vision", "dev"),
    "bench": ("vision", "dev", "bench"),
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)( ; (.+?))? \\$")
# Used without being imported by name.
SILENT = {
    "tzdata": "zoneinfo reads it",
    "python-multipart": "FastAPI reads forms with it",
    "websockets": "uvicorn speaks WebSocket with it",
    "aiosqlite": "SQLAlchemy opens SQLite with it",
}
PART_OF = {  # pinned and released with it
    "pydantic-core": "pydantic",
    "opentelemetry-api": "opentelemetry-sdk",
}


@cache
def project() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by extra; the core under an empty name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {"": table["dependencies"], **table["optional-dependencies"]}
    return {
        extra: [one for text in texts if (one := Requirement(text)).name != "vantage"]
        for extra, texts in asked.items()
    }


@cache
def pins(name: str) -> dict[str, Version]:
    """What a set installs on this interpreter."""
    found: dict[str, Version] = {}
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        if match := PIN.match(line):
            package, version, _, marker = match.groups()
            if marker is None or Requirement(f"x ; {marker}").marker.evaluate():  # type: ignore[union-attr] # it has one
                found[canonicalize_name(package)] = Version(version)
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_wish_is_pinned_to_a_version_it_allows(name: str) -> None:
    wishes = [wish for extra in ("", *SETS[name]) for wish in project()[extra]]
    pinned = pins(name)
    unmet = [
        str(wish)
        for wish in wishes
        if (version := pinned.get(canonicalize_name(wish.name))) is None
        or version not in wish.specifier
    ]
    assert unmet == [], f"run `make requirements`: {name}.txt does not fit pyproject.toml"


@pytest.mark.parametrize("name", ["slim", "vision", "dev"])
def test_a_set_needs_nothing_from_outside_itself(name: str) -> None:
    missing = {
        f"{package} needs {need.name}"
        for package in pins(name)
        for text in metadata.requires(package) or ()
        if wanted(need := Requirement(text))
        if canonicalize_name(need.name) not in pins(name)
    }
    assert missing == set()


def wanted(need: Requirement) -> bool:
    environment = {**default_environment(), "extra": ""}
    return need.marker is None or need.marker.evaluate(environment)  # type: ignore[arg-type] # a plain dict


@pytest.mark.parametrize("name", [*SETS, "build", "uv"])
def test_a_set_is_names_versions_and_hashes(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    strange = [
        line
        for line in lines
        if not PIN.match(line) and not re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
    ]
    assert strange == []


def test_a_package_has_one_version_in_all_sets() -> None:
    for name in SETS:
        common = pins("bench").keys() & pins(name).keys()
        assert {p: pins(name)[p] for p in common} == {p: pins("bench")[p] for p in common}


def test_there_is_one_opencv_and_it_is_headless() -> None:
    assert [name for name in pins("bench") if name.startswith("opencv")] == [
        "opencv-python-headless"
    ]


def test_the_slim_set_carries_no_vision_wheel() -> None:
    heavy = {"numpy", "av", "opencv-python-headless", "onnxruntime", "lap"}
    assert heavy & pins("slim").keys() == set()


def test_what_the_code_imports_is_declared() -> None:
    declared = {canonicalize_name(w.name) for extra in ("", "vision") for w in project()[extra]}
    undeclared = imported_packages() - declared
    assert undeclared == set()


def test_what_is_declared_is_used() -> None:
    declared = {canonicalize_name(w.name) for extra in ("", "vision") for w in project()[extra]}
    assert declared - imported_packages() - SILENT.keys() == set()


def imported_packages() -> set[str]:
    """The distributions whose modules the product names in imports."""
    distributions = metadata.packages_distributions()
    ours = {*tree.CODE, *sys.stdlib_module_names}
    modules = {
        module
        for path in tree.python(*tree.CODE)
        for module in tree.imported(path)
        if module.partition(".")[0] not in ours
    }
    named = {name for module in modules for name in packages(module, distributions)}
    return {PART_OF.get(name, name) for name in named}


def packages(module: str, distributions: Mapping[str, list[str]]) -> set[str]:
    """The distribution that has a module; of several that share a namespace those that have its very file."""
    found = sorted(set(distributions[module.partition(".")[0]]))
    if len(found) > 1:
        found = [name for name in found if has(name, module.replace(".", "/"))]
    return {canonicalize_name(name) for name in found}


@cache
def has(distribution: str, path: str) -> bool:
    files = {str(file) for file in metadata.files(distribution) or ()}
    return not files.isdisjoint({f"{path}.py", f"{path}/__init__.py"})
