"""MOTChallenge text: what is read, what is written, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Invalid
from shared.vision import mot
from shared.vision.mot import Row


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("1,-1,11,21.5,30,40,0.95,-1,-1,-1", Row(1, -1, (10.0, 20.5, 30.0, 40.0), 0.95)),
        ("7,3,1,1,10,20,1,-4.1,12.6,0", Row(7, 3, (0.0, 0.0, 10.0, 20.0), 1.0)),
        ("2,4,1,1,10,20,1", Row(2, 4, (0.0, 0.0, 10.0, 20.0), 1.0)),
        (" 2, 4, 1, 1, 10, 20, 1 \r", Row(2, 4, (0.0, 0.0, 10.0, 20.0), 1.0)),
        ("2.0,4.0,-9,1,10,20,0,", Row(2, 4, (-10.0, 0.0, 10.0, 20.0), 0.0)),
    ],
)
def test_a_line_is_read(line: str, row: Row) -> None:
    assert mot.parse(line, name="det.txt") == [row]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,-1,11,21,30,40", "det.txt line 2: 6 columns; MOTChallenge rows have frame,id"),
        ("1 -1 11 21 30 40 1", "det.txt line 2: 1 columns"),
        ("1,2,3,4,5,6,7,8,9,10,11", "det.txt line 2: 11 columns"),
        ("0,-1,11,21,30,40,1", "det.txt line 2: frame 0; frames count from 1"),
        ("1.5,-1,11,21,30,40,1", "det.txt line 2: frame is '1.5'; give a whole number"),
        ("1,a,11,21,30,40,1", "det.txt line 2: id is 'a'; give a number"),
        ("1,-1,nan,21,30,40,1", "det.txt line 2: left is 'nan'; give a number"),
        ("1,-1,11,21,30,40,inf", "det.txt line 2: confidence is 'inf'; give a number"),
        ("1,-1,11,21,0,40,1", "det.txt line 2: box of 0 x 40 pixels; width and height"),
        ("1,-1,11,21,30,,1", "det.txt line 2: height is ''; give a number"),
    ],
)
def test_a_malformed_line_is_named_with_its_remedy(line: str, message: str) -> None:
    with pytest.raises(Invalid, match=f"^{message}"):
        mot.parse(f"1,-1,1,1,5,5,1\n{line}\n", name="det.txt")


def test_empty_lines_do_not_count_as_rows_but_as_lines() -> None:
    assert mot.parse("\n\n", name="det.txt") == []
    with pytest.raises(Invalid, match="line 3"):
        mot.parse("\n\nnonsense\n", name="det.txt")


pixels = st.integers(-4000, 4000).map(lambda n: n / 8)
extents = st.integers(1, 4000).map(lambda n: n / 8)
rows = st.builds(
    Row,
    st.integers(1, 9999),
    st.integers(-1, 9999),
    st.tuples(pixels, pixels, extents, extents),
    st.integers(0, 100).map(lambda n: n / 100),
)


@given(st.lists(rows, max_size=5))
def test_what_is_written_is_read_back(written: list[Row]) -> None:
    assert mot.parse(mot.write(written), name="x") == written


def test_pixels_count_from_one_in_the_file() -> None:
    assert mot.write([Row(3, 5, (0.0, 9.5, 20.0, 40.25), 0.5)]) == (
        "3,5,1.000,10.500,20.000,40.250,0.5,-1,-1,-1\n"
    )
