"""What a reader is told: the checked address, the login, the masks; and which URLs are none of a source's."""

from pathlib import Path

import pytest

from services.ingest.orders import with_login
from services.ingest.sources import SOURCES, open_source
from services.ingest.sources.decoder import trouble
from services.ingest.sources.options import playing
from services.ingest.sources.port import Opening, SourceError
from shared.security.camera_login import CameraLogin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://10.0.0.9:554/live", "rtsp://u%40home:p%2Fw%3A1@10.0.0.9:554/live"),
        ("rtsp://old:gone@10.0.0.9/live", "rtsp://u%40home:p%2Fw%3A1@10.0.0.9/live"),
        ("rtsp://[fd00::9]:554/a?b=c", "rtsp://u%40home:p%2Fw%3A1@[fd00::9]:554/a?b=c"),
        ("rtsp://10.0.0.9/a?u={user}&p={password}", "rtsp://10.0.0.9/a?u=u%40home&p=p%2Fw%3A1"),
    ],
)
def test_a_login_is_quoted_into_the_address(url: str, expected: str) -> None:
    assert with_login(url, CameraLogin(username="u@home", password="p/w:1")) == expected
    assert with_login(url, None) == url


def test_how_a_film_is_played() -> None:
    assert playing("file:///a%20b/c.mp4") == (Path("/a b/c.mp4"), False, True, 0.0)
    assert playing("file:///c.mp4?loop=1&rate=max") == (Path("/c.mp4"), True, False, 0.0)
    assert playing("images:///c?fps=2", rated=True) == (Path("/c"), False, True, 2.0)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///c.mp4?speed=2", "'speed'"),
        ("file:///c.mp4?fps=2", "'fps'"),
        ("file:///c.mp4?loop=yes", "loop=yes"),
        ("file:///c.mp4?rate=2", "rate=2"),
        ("file://host/c.mp4", "three slashes"),
        ("file:c.mp4", "three slashes"),
        ("concat:/a|/b", "'concat'"),
        ("ftp://host/c.mp4", "'ftp'"),
        ("/c.mp4", "''"),
        ("sim://attic", "sim://demo"),
        ("images:///nowhere", "no folder"),
    ],
)
def test_mistakes_are_named(url: str, says: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(Opening(url=url))
    assert says in caught.value.reason
    assert caught.value.kind == "unreadable"


@pytest.mark.parametrize("name", ["a.mp4", "-i", "x.m3u8", "subfile,,start,0,end,9,,:a.mp4"])
def test_names_are_only_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    with pytest.raises(SourceError) as caught:
        open_source(Opening(url=f"file://{tmp_path}/{name}"))
    assert caught.value.kind == "unreadable"


def test_every_source_module_exists() -> None:
    folder = Path("services/ingest/sources")
    assert {module.rpartition(".")[2] for module in SOURCES.values()} <= {
        p.stem for p in folder.iterdir()
    }


def test_trouble_carries_no_password() -> None:
    import av.error

    error = av.error.OSError(5, "open failed rtsp://guard:hunter2@10.0.0.9/live", "x")
    assert "hunter2" not in trouble(error, "unreachable").reason
