"""Exported cells: data for programs, no formulas for spreadsheets."""

import csv
import io

import pytest

from shared.cells import cell, csv_lines


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|' /C calc'!A0",
        "+1",
        "-1+2",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "＝1",
        "|x",
        "%x",
    ],
)
def test_what_looks_like_a_formula_is_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (-1.5, -1.5),
        (7, 7),
        ("person", "person"),
        ("a=b", "a=b"),
        (["gate", "=x"], '["gate","=x"]'),
    ],
)
def test_other_values_stay_what_they_are(value: object, shown: object) -> None:
    assert cell(value) == shown


def test_lines_can_be_read_back() -> None:
    rows: list[dict[str, object]] = [{"a": 'x,"y"\nz', "b": 1.5, "c": [1, 2]}, {"a": "ü"}]
    text = csv_lines(("a", "b", "c"), rows).decode()
    assert list(csv.reader(io.StringIO(text))) == [['x,"y"\nz', "1.5", "[1,2]"], ["ü", "", ""]]
