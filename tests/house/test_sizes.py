"""A file is read in one sitting, a function at one glance."""

import pytest

from tests.house import tree

MOST_LINES = 400
MOST_FUNCTION_LINES = 40


def test_no_file_passes_its_size() -> None:
    sizes = {path: path.read_bytes().count(b"\n") for path in tree.python()}
    assert [tree.place(path, lines) for path, lines in sizes.items() if lines > MOST_LINES] == []


def test_no_function_passes_its_size() -> None:
    long = [
        f"{tree.place(path, function.lineno)} {function.name}: {length} lines"
        for path in tree.python()
        if "migrations" not in path.parts  # one list of tables, written once
        for function in tree.functions(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MOST_FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("name", ["utils", "helpers", "manager", "common", "misc", "base_service"])
def test_no_file_is_named_after_nothing(name: str) -> None:
    assert [path for path in tree.files() if path.stem == name] == []
