"""What does not occur in this house: each rule with the places that break it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.folders import ROOT
from tests.house import tree

BROAD_EXCEPT = ("shared/bus/engine", "shared/runtime")  # a file, or the folder it grew into
TEXTS = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".xml", ".html", ".css", ".js", ".j2", ""}
# Spelled in halves, so that this file does not break its own rules.
UNDONE = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b|NotImplemented" r"Error")
BRANCHES = re.compile(r"\bif (not )?(\w+\.)*(is_)?(test" r"ing|embed" r"ded)\b")
HOSTS = re.compile(
    r"pypi\.o"
    r"rg|pythonho"
    r"sted|npm"
    r"js|proxy\.gol"
    r"ang|repo1?\.mav"
    r"en|/wor"
    r"k/|/ro"
    r"ot/"
)
IGNORES = re.compile(r"# (type: ign" r"ore\[[a-z, -]+\]|no" r"qa: [A-Z0-9, ]+)( +#| --?) *\w+")


def found(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{tree.place(path, number)}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def texts() -> list[Path]:
    return [path for path in tree.files() if path.suffix in TEXTS]


def test_nothing_is_left_undone() -> None:
    assert found(UNDONE, texts()) == []


def test_no_branch_asks_where_it_runs() -> None:
    assert found(BRANCHES, tree.python(*tree.CODE)) == []


def test_no_package_host_and_no_path_of_a_machine_is_named() -> None:
    assert found(HOSTS, texts()) == []


def test_what_a_checker_is_told_to_ignore_has_its_reason() -> None:
    silenced = found(re.compile(r"# (type: ign" r"ore|no" r"qa)"), tree.python(*tree.CODE))
    assert [line for line in silenced if not IGNORES.search(line)] == []


def test_types_are_ignored_less_than_once_in_a_thousand_lines() -> None:
    code = tree.python(*tree.CODE)
    lines = sum(path.read_bytes().count(b"\n") for path in code)
    ignored = found(re.compile("# type: ignore"), code)
    assert len(ignored) <= max(3, lines / 1000), ignored


def test_only_the_engine_and_the_runtime_catch_everything() -> None:
    broad = [
        tree.place(path, handler.lineno)
        for path in tree.python(*tree.CODE)
        if not path.relative_to(ROOT).as_posix().startswith(BROAD_EXCEPT)
        for handler in handlers(path)
        if catches_everything(handler) and not raises_again(handler)
    ]
    assert broad == []


def handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(tree.parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            yield node


def catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(one) in {"Exception", "BaseException"} for one in caught)


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_function_reaches_for_a_global() -> None:
    reached = [
        tree.place(path, node.lineno)
        for path in tree.python(*tree.CODE)
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Global)
    ]
    assert reached == []


LOG_VERBS = {"debug", "info", "warning", "error", "exception", "critical"}


def test_logs_are_events_with_fields() -> None:
    formatted = [
        tree.place(path, node.lineno)
        for path in tree.python(*tree.CODE)
        for node in ast.walk(tree.parsed(path))
        if is_log_call(node) and isinstance(node, ast.Call)
        if not node.args or not isinstance(node.args[0], ast.Constant) or len(node.args) > 1
    ]
    assert formatted == []


def is_log_call(node: ast.AST) -> bool:
    """`log.info(...)`, `self._log.info(...)`, `logger.info(...)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    whose = ast.unparse(node.func.value).rsplit(".", 1)[-1].strip("_")
    return node.func.attr in LOG_VERBS and whose in {"log", "logger"}


@pytest.mark.parametrize("path", tree.python(*tree.CODE), ids=str)
def test_a_module_says_in_one_sentence_what_it_is(path: Path) -> None:
    said = ast.get_docstring(tree.parsed(path))
    assert said, f"{path.relative_to(ROOT)} begins without its sentence"
    assert said.splitlines()[0].rstrip().endswith((".", ":", "?", "!", ",", ";")) or "\n" in said
