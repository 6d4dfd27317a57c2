"""Addresses that no reader understands, or that would show a secret, are refused when they are saved."""

import pytest

from services.vms.addresses import check_address
from shared.errors import Invalid


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.0.0.9/live",
        "rtsps://10.0.0.9:322/Streaming/Channels/101?transportmode=unicast",
        "rtsp://10.0.0.9/live?passage=2&keyframe=1",
        "file:///films/a.mp4?loop=1",
        "images:///films?fps=2",
        "sim://demo?seed=7&fps=5",
    ],
)
def test_what_can_be_read_is_taken(url: str) -> None:
    check_address(url, login=False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sim://nonsense", "sim://demo"),
        ("sim:demo", "sim://demo"),
        ("sim://demo?fps=1e309", "from 1 to 60"),
        ("sim://demo?fps=nan", "from 1 to 60"),
        ("sim://demo?speed=2", "'speed'"),
        ("file://", "three slashes"),
        ("file:///", "three slashes"),
        ("file://host/a.mp4", "three slashes"),
        ("file:///a.mp4?loop=yes", "0, 1"),
        ("file:///%00", "NUL"),
        ("file:///a#b.mp4", "%23"),
        ("images://", "three slashes"),
        ("webcam://0", "use rtsp"),
        ("http://10.0.0.9/video.mjpg", "use rtsp"),
    ],
)
def test_what_no_reader_understands_is_refused_with_the_remedy(url: str, says: str) -> None:
    with pytest.raises(Invalid, match=r"url|option|fps|'sim") as caught:
        check_address(url, login=False)
    assert says in str(caught.value)
    assert caught.value.field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.0.0.9/live?password=canary",
        "rtsp://10.0.0.9/live?a=b&PWD=canary",
        "rtsp://10.0.0.9/live?p%61ssword=canary",
        "rtsp://10.0.0.9/live?access_token=canary",
        "rtsp://10.0.0.9/user=admin_password=canary_channel=1_stream=0.sdp",
        "rtsp://10.0.0.9/live?password={password}&pass=canary",
    ],
)
def test_a_secret_in_the_clear_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_address(url, login=True)
    assert "{password}" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_the_login_has_a_place_in_the_query_too() -> None:
    url = "rtsp://10.0.0.9/live?user={user}&password={password}"
    check_address(url, login=True)
    with pytest.raises(Invalid, match="there is none"):
        check_address(url, login=False)


def test_a_film_takes_no_login() -> None:
    with pytest.raises(Invalid, match="takes no login"):
        check_address("sim://demo", login=True)
