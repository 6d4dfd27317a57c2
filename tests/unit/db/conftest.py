"""A package of migrations for the tests of migrating."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest


class Package:
    """A package of migrations that grows while the test runs."""

    def __init__(self, folder: Path) -> None:
        self.name = "vantage_test_migrations"
        self._versions = folder / self.name / "versions"
        self._versions.mkdir(parents=True)
        (folder / self.name / "__init__.py").write_text("")

    def write(self, name: str, code: str) -> None:
        (self._versions / f"{name}.py").write_text(dedent(code))

    def remove(self, name: str) -> None:
        (self._versions / f"{name}.py").unlink()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    folder = tmp_path / "code"
    made = Package(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield made
    sys.modules.pop(made.name, None)
