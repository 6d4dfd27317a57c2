"""The command line: services and commands by name, lazily; errors of ours as one line and an exit code."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services import main
from shared.errors import Conflict, Invalid, Setup, VantageError
from shared.service import Service

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VANTAGE_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize("name", main.SERVICES)
def test_every_line_of_the_list_is_a_service_of_that_name(name: str) -> None:
    found = main.load(name)
    assert isinstance(found, Service)
    assert found.name == name


def test_every_service_has_a_port_of_its_own() -> None:
    ports = [main.load(name).port for name in main.SERVICES]
    assert len(set(ports)) == len(ports)


def test_an_unknown_service_is_named_with_those_there_are() -> None:
    with pytest.raises(Setup, match="gateway"):
        main.load("nothing")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = RUNNER.invoke(main.app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output


def test_help_lists_all_commands() -> None:
    listed = RUNNER.invoke(main.app, ["--help"]).output
    assert all(name in listed for name in (*main.COMMANDS, "up", "run", "config", "contracts"))


@pytest.mark.parametrize(
    ("error", "code"), [(Setup("set it up"), 2), (Invalid("wrong"), 1), (Conflict("taken"), 1)]
)
def test_our_errors_are_one_line_and_an_exit_code(error: VantageError, code: int) -> None:
    app = typer.Typer(cls=main.Commands)

    @app.callback()
    def root() -> None:
        """Nothing."""

    @app.command()
    def fail() -> None:
        raise error

    result = RUNNER.invoke(app, ["fail"])
    assert result.exit_code == code
    assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""


def test_the_command_line_itself_imports_no_service() -> None:
    code = "import services.main, sys; print([m for m in sys.modules if m.startswith('services.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['services.main']"
