"""The pure core decides from what it is given: no clock, no chance, no environment. Imports are import-linter's part."""

import ast
from pathlib import Path

from tests.engines.folders import ROOT
from tests.house import tree

IMPURE = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "uuid.uuid1", "uuid.uuid4", "uuid1", "uuid4",
    "np.random", "numpy.random", "open", "print", "input", "breakpoint", "__import__",
}  # fmt: skip


def core() -> list[Path]:
    pure = ("schemas", "shared/vision", "shared/rules")
    return [
        path
        for path in tree.python(*tree.CODE)
        if path.relative_to(ROOT).as_posix().startswith(pure) or path.name == "domain.py"
    ]


def test_there_is_a_core() -> None:
    assert len(core()) > 20


def test_the_core_asks_nothing_of_the_world() -> None:
    asked = [
        f"{tree.place(path, node.lineno)} {ast.unparse(node)}"
        for path in core()
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in IMPURE
    ]
    assert asked == []


def test_the_core_waits_for_nothing() -> None:
    waits = [
        tree.place(path, function.lineno)
        for path in core()
        if path.name == "domain.py" or "rules" in path.parts or "vision" in path.parts
        for function in tree.functions(path)
        if isinstance(function, ast.AsyncFunctionDef)
    ]
    assert waits == []
