"""`sim://` URLs: what they may say, and that mistakes are named."""

import pytest

from shared.errors import Invalid
from shared.sim.address import SimAddress, parse


def test_everything_has_a_default() -> None:
    assert parse("sim://demo") == SimAddress()


def test_everything_can_be_said() -> None:
    url = "sim://demo?seed=3&fps=10&size=320x240&duration=20&loop=1&resume=1&rate=max"
    assert parse(url) == SimAddress(
        seed=3, fps=10, width=320, height=240, duration=20, loop=True, resume=True, unpaced=True
    )


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("sim://attic", "sim://demo"),
        ("file:///demo", "sim://demo"),
        ("sim://demo/other", "sim://demo"),
        ("sim://demo?speed=2", "speed"),
        ("sim://demo?seed=1&seed=2", "at most once"),
        ("sim://demo?fps=0", "fps=0"),
        ("sim://demo?fps=nan", "fps=nan"),
        ("sim://demo?fps=many", "fps=many"),
        ("sim://demo?duration=1", "duration=1"),
        ("sim://demo?duration=inf", "duration=inf"),
        ("sim://demo?seed=-1", "seed=-1"),
        ("sim://demo?loop=yes", "loop=yes"),
        ("sim://demo?rate=slow", "rate=slow"),
        ("sim://demo?size=640", "size=640"),
        ("sim://demo?size=64x36", "size=64x36"),
        ("sim://demo?size=99999x99999", "size=99999x99999"),
        ("sim://demo?size=641x361", "size=641x361"),
        ("sim://demo?size=²x²", "size=²x²"),
    ],
)
def test_mistakes_are_named(url: str, names: str) -> None:
    with pytest.raises(Invalid, match="url" if names == "" else None) as caught:
        parse(url)
    assert names in str(caught.value)
    assert caught.value.field == "url"
