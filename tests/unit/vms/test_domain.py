"""Decisions about cameras: ids, spellings, logins, shapes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events.camera_configured import Line, Mask, Zone
from services.vms.domain import (
    Camera,
    camera_id,
    checked_shapes,
    next_version,
    readable,
    same_place,
    spelling,
    split_login,
)
from shared.errors import Invalid
from shared.security.camera_login import CameraLogin

SQUARE = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Front Door", "front-door"),
        ("  Tor / Hof #2 ", "tor-hof-2"),
        ("Größe", "groe"),
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "con"),
        ("x" * 64, "x" * 48),
        ("--_--a", "a"),
    ],
)
def test_a_name_gives_an_id(name: str, id: str) -> None:
    assert camera_id(name) == id


def test_a_name_without_latin_letters_gives_one_too() -> None:
    assert camera_id("正門") != camera_id("裏門")
    assert camera_id("正門") == camera_id("正門")


@given(st.text(min_size=1, max_size=64))
def test_every_id_is_one_that_events_can_carry(name: str) -> None:
    try:
        text = readable(name, "name")
    except Invalid:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", camera_id(text))


@pytest.mark.parametrize(
    "hidden",
    ["a\0b", "a\nb", "a\u202eb", "a\u200bb", "a\u2060b", "a\ufeffb", "a\U000e0041", "\x7f"],
)
def test_characters_that_nobody_sees_are_refused(hidden: str) -> None:
    with pytest.raises(Invalid, match="invisible character U\\+"):
        readable(hidden, "name")


@pytest.mark.parametrize("empty", ["", " ", "\u3000"])
def test_a_name_of_nothing_is_refused(empty: str) -> None:
    with pytest.raises(Invalid, match="is empty"):
        readable(empty, "name")


SPELLINGS = [
    ("rtsp://cam.lan/stream", "rtsp://cam.lan/stream", None),
    ("RTSP://CAM.lan./stream", "rtsp://cam.lan/stream", None),
    ("rtsp://cam.lan:554/stream", "rtsp://cam.lan/stream", None),
    ("rtsp://cam.lan:8554/stream", "rtsp://cam.lan:8554/stream", None),
    ("rtsp://cam.lan//a/../stream/", "rtsp://cam.lan/stream", None),
    ("rtsp://cam.lan/%73tream#here", "rtsp://cam.lan/stream", None),
    ("rtsp://cam.lan", "rtsp://cam.lan", None),
    ("rtsp://cam.lan/", "rtsp://cam.lan", None),
    ("rtsp://cam.lan/a?channel=1", "rtsp://cam.lan/a?channel=1", None),
    ("rtsp://0x7f.1/a", "rtsp://127.0.0.1/a", "127.0.0.1"),
    ("rtsp://2130706433/a", "rtsp://127.0.0.1/a", "127.0.0.1"),
    ("rtsp://[FE80:0::1]:554/a", "rtsp://[fe80::1]/a", "fe80::1"),
    ("rtsp://cam.lan/a", "rtsp://cam.lan/a", "10.0.0.7"),
    ("https://cam.lan:443/a", "https://cam.lan/a", None),
    ("file:///videos/../videos/a.mp4", "file:///videos/a.mp4", None),
    ("sim://demo?seed=7", "sim://demo?seed=7", None),
]


@pytest.mark.parametrize(("url", "one", "address"), SPELLINGS)
def test_a_url_has_one_spelling(url: str, one: str, address: str | None) -> None:
    assert spelling(url, address) == one
    assert spelling(one, address) == one


LOGINS = [
    ("rtsp://cam/a", "rtsp://cam/a", None),
    ("rtsp://u:p@cam:1/a?b=c", "rtsp://cam:1/a?b=c", ("u", "p")),
    ("rtsp://u@cam/a", "rtsp://cam/a", ("u", "")),
    ("rtsp://u:p%40ss%3A@cam/a", "rtsp://cam/a", ("u", "p@ss:")),
    ("rtsp://u:p@q@cam/a", "rtsp://cam/a", ("u", "p@q")),
    ("rtsp://@cam/a", "rtsp://cam/a", ("", "")),
]


@pytest.mark.parametrize(("url", "bare", "login"), LOGINS)
def test_a_login_is_taken_out(url: str, bare: str, login: tuple[str, str] | None) -> None:
    found = None if login is None else CameraLogin(username=login[0], password=login[1])
    assert split_login(url) == (bare, found)


def test_a_login_is_not_printed() -> None:
    assert "secret" not in repr(CameraLogin(username="u", password="secret"))


def test_the_same_place_is_scheme_host_and_port() -> None:
    assert same_place("rtsp://cam/a", "RTSP://CAM:554/b")
    assert not same_place("rtsp://cam/a", "rtsp://cam:8554/a")
    assert not same_place("rtsp://cam/a", "rtsps://cam/a")
    assert not same_place("rtsp://cam/a", "rtsp://cam.evil/a")


def test_good_shapes_pass() -> None:
    checked_shapes(
        [Zone(name="a", points=SQUARE), Zone(name="b", points=((0, 0), (1, 0), (1, 1)))],
        [Line(name="a", a=(0.0, 0.0), b=(1.0, 1.0))],
        [Mask(name="a", points=SQUARE)],
    )


BOW = ((0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9))
WRONG = [
    (((0.1, 0.1), (1.1, 0.1), (0.5, 0.9)), "leaves the frame"),
    (((0.1, 0.1), (-0.1, 0.1), (0.5, 0.9)), "leaves the frame"),
    (BOW, "crosses or touches itself"),
    (((0.1, 0.1), (0.5, 0.5), (0.9, 0.9)), "crosses or touches|no area"),
    (((0.1, 0.1), (0.1, 0.1), (0.9, 0.9)), "crosses or touches"),
]


@pytest.mark.parametrize(("points", "says"), WRONG)
@pytest.mark.parametrize("kind", ["zones", "masks"])
def test_a_polygon_that_cannot_be_used_is_refused(
    kind: str, points: tuple[tuple[float, float], ...], says: str
) -> None:
    zones = [Zone(name="good", points=SQUARE), Zone(name="bad", points=points)]
    masks = [Mask(name=zone.name, points=zone.points) for zone in zones]
    with pytest.raises(Invalid, match=says) as caught:
        checked_shapes(*((zones, [], []) if kind == "zones" else ([], [], masks)))
    assert caught.value.field.startswith(f"{kind}[1]")
    assert "bad" in str(caught.value)


def test_a_line_of_no_length_is_refused() -> None:
    with pytest.raises(Invalid, match="begins where it ends"):
        checked_shapes([], [Line(name="a", a=(0.5, 0.5), b=(0.5, 0.5))], [])


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(Invalid, match="there twice"):
        checked_shapes([Zone(name="a", points=SQUARE)] * 2, [], [])


def test_versions_go_on_and_take_effect_in_order() -> None:
    camera = Camera(id="a", name="A", url="", url_key="")
    first = next_version(camera, now=10_000_000)
    assert (first.document_version, first.effective_at, first.changed_at) == (
        1,
        12_000_000,
        10_000_000,
    )
    clock_went_back = next_version(first, now=5_000_000)
    assert clock_went_back.document_version == 2
    assert clock_went_back.effective_at > first.effective_at
