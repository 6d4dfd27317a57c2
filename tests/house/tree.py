"""The project's own files, parsed once, for the tests of the house rules."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.engines.folders import ROOT

CODE = ("schemas", "shared", "services", "annotation_ui")
SERVICES = ("gateway", "vms", "orchestrator", "dashboard", "ingest", "inference", "notifier")
COMPOSERS = ("main", "analyze", "demo", "engines")  # a file, or the folder it grew into
COMMANDS = ("topics",)  # of the command line, and of no service


@cache
def files() -> tuple[Path, ...]:
    """Every file that is or could be committed: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in listed.splitlines() if (path := ROOT / name).is_file())


def python(*folders: str) -> list[Path]:
    """The Python files below these folders of the project; all of them without an argument."""
    return [
        path
        for path in files()
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders)
    ]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, nested ones too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path) -> set[str]:
    """The modules that a file names in imports anywhere in it, dotted and absolute."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def place(path: Path, line: int) -> str:
    """Where, as an editor understands it."""
    return f"{path.relative_to(ROOT)}:{line}"
