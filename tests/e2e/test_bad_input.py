"""Bad input as a user gives it to a running server: each a clear error, nothing lost, the other camera undisturbed."""

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.e2e.commands import begin, said
from tests.e2e.server import Server, eventually
from tests.engines.processes import free_port

CANARY = "hunter2canary"
OUTLINE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
CROSSED = [[0, 0], [1, 1], [1, 0], [0, 1]]
RTSP = "rtsp://10.255.255.1/door"


class House(Server):
    """A server with a good camera whose frames are counted."""

    def __init__(self, folder: Path) -> None:
        self.metrics_port = free_port()
        environment = {"VANTAGE_METRICS_PORT": str(self.metrics_port), "VANTAGE_LOG_FORMAT": "json"}
        super().__init__(folder, environment)

    def frames(self) -> float:
        """So many frames of the good camera have left its reader."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text
        found = re.search(
            r'^vantage_frames_captured_total{camera="good"} (\S+)', text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    def camera(self, name: str) -> dict[str, Any]:
        """What is known of a camera's state."""
        items = self.call("GET", "/api/v1/camera-status", camera=name)["items"]
        return dict(items[0]) if items else {"state": "", "reason": ""}

    @cached_property
    def client(self) -> httpx.Client:
        """One client for all calls: each new one would read all certificates first."""
        transport = httpx.HTTPTransport(uds=str(self.folder / "run" / "api.sock"))
        return httpx.Client(transport=transport, base_url="http://vantage", timeout=30)

    def ask(self, method: str, path: str, body: object = None, **query: object) -> httpx.Response:
        """Call the API as the machine's owner, whatever the answer."""
        return self.client.request(method, path, json=body, params=query or None)  # type: ignore[arg-type]

    def raw(self, path: str, body: bytes) -> httpx.Response:
        """POST these very bytes."""
        return self.client.post(path, content=body, headers={"content-type": "application/json"})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("bad") / "data")
    house.start()
    good = {"name": "Good", "url": "sim://demo?duration=3600"}
    house.call("POST", "/api/v1/cameras", good)
    eventually(house.frames)
    yield house
    house.client.close()
    house.kill()


@pytest.fixture(autouse=True)
def undisturbed(house: House) -> Iterator[None]:
    """After each: the good camera is the only one, shows pictures, and was never interrupted."""
    yield
    cameras = house.call("GET", "/api/v1/cameras")["items"]
    assert [camera["id"] for camera in cameras] == ["good"]
    before = house.frames()
    eventually(lambda: house.frames() > before, seconds=15)
    good = house.camera("good")
    assert (good["state"], good["epoch"]) == ("online", 1)
    assert "Traceback" not in house.text()


def camera(**fields: object) -> dict[str, Any]:
    """A camera's body."""
    return {"name": "Bad", "url": RTSP, **fields}


def zones(points: object) -> dict[str, Any]:
    """A camera with such a zone."""
    return camera(zones=[{"name": "yard", "points": points}])


def rule(**fields: object) -> dict[str, Any]:
    """A rule's body."""
    document = {
        "id": "bad",
        "title": "Bad",
        "level": "high",
        "scope": {"cameras": ["good"]},
        "match": {"enter": {"class": ["person"], "zone": "yard"}},
        "defs": {"zones": {"yard": OUTLINE}},
        "group_by": ["track"],
    }
    return {"document": {**document, **fields}}


CAMERAS, RULES, CHANNELS = "/api/v1/cameras", "/api/v1/rules", "/api/v1/channels"
NAN, HUGE = float("nan"), float("inf")
DEEP: dict[str, Any] = {"enter": {"zone": "yard"}}
for _ in range(60):
    DEEP = {"not": DEEP}

# path, body, what the answer must say: the field, the value or the remedy
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (CAMERAS, camera(url="ftp://10.0.0.9/a"), "url", "use rtsp"),
    (CAMERAS, camera(url="concat:/a|/b"), "url", "'concat'"),
    (CAMERAS, camera(url="http://10.0.0.9/a"), "url", "use rtsp"),
    (CAMERAS, camera(url="rtsp://127.0.0.1/a"), "url", "VANTAGE_CAMERA_NETS"),
    (CAMERAS, camera(url="rtsp://2130706433/a"), "url", "VANTAGE_CAMERA_NETS"),
    (CAMERAS, camera(url="rtsp://[::ffff:127.0.0.1]/a"), "url", "VANTAGE_CAMERA_NETS"),
    (CAMERAS, camera(url="rtsp://169.254.169.254/a"), "url", "VANTAGE_CAMERA_NETS"),
    (CAMERAS, camera(url="rtsp://0.0.0.0/a"), "url", "VANTAGE_CAMERA_NETS"),
    (CAMERAS, camera(url="rtsp://exa\u202emple.lan/a"), "url", "host"),
    (CAMERAS, camera(url="sim://nonsense"), "url", "sim://demo"),
    (CAMERAS, camera(url="sim://demo?fps=1e309"), "url", "from 1 to 60"),
    (CAMERAS, camera(url="sim://demo?size=9x9"), "url", "256x144"),
    (CAMERAS, camera(url="file://"), "url", "three slashes"),
    (CAMERAS, camera(url="file:///a.mp4?speed=2"), "url", "loop, rate"),
    (CAMERAS, camera(name=""), "name", ""),
    (CAMERAS, camera(name="n" * 1_000_000), "name", "64"),
    (CAMERAS, camera(name="a\0b"), "name", "U+0000"),
    (CAMERAS, camera(name="a\u202eb"), "name", "U+202E"),
    (CAMERAS, camera(name="a\U000e0041"), "name", "U+E0041"),
    (CAMERAS, camera(name="a\ud800"), "name", "unicode"),
    (CAMERAS, zones(CROSSED), "zones", "crosses"),
    (CAMERAS, zones([[0, 0], [1, 0], [1, 1.5]]), "zones", "leaves the frame"),
    (CAMERAS, zones([[0, 0], [0.5, 0], [1, 0]]), "zones", "outline"),
    (CAMERAS, zones([[NAN, 0], [1, 0], [1, 1]]), "zones", "finite"),
    (CAMERAS, zones([[HUGE, 0], [1, 0], [1, 1]]), "zones", "finite"),
    (CAMERAS, zones([[0.1, 0.1]] * 100_000), "zones", "64"),
    (CAMERAS, camera(detect={"rate": HUGE}), "detect.rate", "finite"),
    (CAMERAS, camera(detect={"rate": 2**64}), "detect.rate", "60"),
    (CAMERAS, camera(detect={"threshold": True}), "detect.threshold", "number"),
    (CAMERAS, camera(role="admin", created_at=0), "role", "not permitted"),
    (RULES, rule(colour="red"), "$.colour", "no such field"),
    (RULES, rule(match={"enter": {"zone": "yard", "spede": 3}}), "spede", "zone, class"),
    (RULES, rule(match={"teleport": {}}), "teleport", "enter"),
    (RULES, rule(defs={"zones": {"yard": CROSSED}}), "yard", "cross"),
    (RULES, rule(defs={"zones": {"yard": [[0, 0], [2, 0], [1, 1]]}}), "yard", "0 to 1"),
    (RULES, rule(defs={"zones": {"yard": [[NAN, 0], [1, 0], [1, 1]]}}), "yard", ""),
    (RULES, rule(match={"dwell": {"zone": "yard", "for": HUGE}}), "for", ""),
    (RULES, rule(level="loud"), "level", "critical"),
    (RULES, rule(id="../x"), "id", ""),
    (RULES, rule(title="a\ud800"), "$.title", "U+D800"),
    (RULES, rule(title="a\U000e0041"), "$.title", "U+E0041"),
    (RULES, rule(**{"a\ud800": 1}), "$", "U+D800"),
    (RULES, rule(match=DEEP), "$", "nested too deeply"),
    (CHANNELS, {"kind": "webhook", "name": "w", "url": "http://10.0.0.9/"}, "url", "WEBHOOK_NETS"),
    (CHANNELS, {"kind": "webhook", "name": "w", "url": "file:///etc/passwd"}, "url", "https"),
    (CHANNELS, {"kind": "pigeon", "name": "w"}, "kind", "webhook"),
    (CHANNELS, {"kind": "webhook", "name": "a\r\nb", "url": "https://h.lan/"}, "name", ""),
    ("/api/v1/probes", {"url": "rtsp://127.0.0.1/a"}, "url", "VANTAGE_CAMERA_NETS"),
]


def test_what_is_wrong_is_named_with_the_remedy(house: House) -> None:
    passed = []
    for path, body, field, says in REFUSED:
        answer = house.raw(path, json.dumps(body).encode())
        told = answer.text if answer.status_code == 422 else ""
        if field not in told or says not in told or len(told) > 5000:
            passed.append((path, str(body)[:120], answer.status_code, answer.text[:300]))
    assert passed == []
    for path in (RULES, CHANNELS):
        assert "ad" not in {item.get("name", "") for item in house.call("GET", path)["items"]}


def test_what_is_no_json_is_refused(house: House) -> None:
    answers = [
        house.raw(CAMERAS, body)
        for body in (b"", b"{", b"\xff\xfe", b"[" * 10_000, b'{"name":"x"} trailing', b"null")
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 400, 422, 422]
    assert all("body" in answer.json()["detail"] for answer in answers), [
        answer.text for answer in answers
    ]


def test_a_secret_in_a_url_is_refused_or_sealed(house: House) -> None:
    clear = camera(url=f"{RTSP}?user=admin&password={CANARY}")
    answer = house.raw(CAMERAS, json.dumps(clear).encode())
    assert answer.status_code == 422
    assert "{password}" in answer.text
    sealed = camera(
        url=f"{RTSP}?user={{user}}&password={{password}}",
        credentials={"username": "admin", "password": CANARY},
    )
    answers = [answer.text, json.dumps(house.call("POST", CAMERAS, sealed))]
    eventually(lambda: house.camera("bad")["state"])
    answers += [
        house.ask("GET", path).text
        for path in (CAMERAS, f"{CAMERAS}/bad", "/api/v1/camera-status", "/health")
    ]
    house.call("DELETE", f"{CAMERAS}/bad")
    kept = [path for path in house.folder.rglob("*") if path.is_file()]
    stored = [path for path in kept if CANARY.encode() in path.read_bytes()]
    assert not [text for text in [*answers, house.text()] if CANARY in text]
    assert stored == []


def films(folder: Path) -> dict[str, tuple[str, str]]:
    """URLs of what cannot be read, by camera id, with what is said of each."""
    (folder / "letter.mp4").write_bytes(b"this is no film, it is a letter\n" * 100)
    (folder / "noise.mp4").write_bytes(np.random.default_rng(7).bytes(100_000))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "list.mp4").write_bytes(
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    )
    film = _film(folder / "film.mkv")
    (folder / "codec.mkv").write_bytes(film.replace(b"V_MJPEG", b"V_XJPEG"))
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "huge").mkdir()
    (folder / "huge" / "a.png").write_bytes(_bomb())
    (folder / "none").mkdir()
    at = f"file://{folder}"
    return {
        "letter": (f"{at}/letter.mp4", "letter.mp4: it cannot be read as video"),
        "noise": (f"{at}/noise.mp4", "noise.mp4: it cannot be read as video"),
        "empty": (f"{at}/empty.mp4", "empty (0 bytes)"),
        "list": (f"{at}/list.mp4", "list.mp4: it cannot be read"),
        "codec": (f"{at}/codec.mkv", "codec"),
        "directory": (at, f"use images://{folder}"),
        "missing": (f"{at}/missing.mp4", "no such file"),
        "device": ("file:///dev/zero", "no such file"),
        "svg": (f"images://{folder}/pictures", "a.jpg"),
        "huge": (f"images://{folder}/huge", "a.png"),
        "none": (f"images://{folder}/none", "no picture"),
    }


def test_what_is_no_film_is_named(house: House, tmp_path: Path) -> None:
    wrong = films(tmp_path)
    for name, (url, _) in wrong.items():
        house.call("POST", CAMERAS, {"name": name, "url": url})
    found = {}
    for name, (_, says) in wrong.items():
        state = eventually(lambda name=name: _failed(house.camera(name)), seconds=40)
        if says not in state["reason"]:
            found[name] = state["reason"]
    for name in wrong:
        house.call("DELETE", f"{CAMERAS}/{name}")
    assert found == {}


def _failed(state: dict[str, Any]) -> dict[str, Any] | None:
    return state if state["state"] == "error" else None


def _film(path: Path) -> bytes:
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(5):
            pixels = np.full((48, 64, 3), number * 40, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return path.read_bytes()


def _bomb() -> bytes:
    """A small PNG of 50,000 by 50,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_model_that_is_none_is_named_by_health(house: House, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "letter.onnx").write_bytes(b"this is no model\n" * 100)
    wrong = {
        "letter": ({"model": f"{tmp_path}/letter.onnx"}, "letter.onnx is no model"),
        "gone": ({"model": f"{tmp_path}/gone.onnx"}, "there is no file"),
        "folder": ({"model": f"{tmp_path}/folder"}, "folder is no file"),
        "nope": ({"backend": "nope"}, "'nope' is unknown; use one of onnx, scripted"),
    }
    for number, (name, (detect, _)) in enumerate(wrong.items()):
        url = f"sim://demo?duration=3600&seed={number}"
        house.call("POST", CAMERAS, {"name": name, "url": url, "detect": detect})
    try:
        for name, (_, says) in wrong.items():
            eventually(lambda says=says: says in json.dumps(house.call("GET", "/health")))
            eventually(lambda name=name: house.camera(name)["state"] == "online")
    finally:
        for name in wrong:
            house.call("DELETE", f"{CAMERAS}/{name}")


def test_commands_name_what_is_wrong(house: House, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "rule.yaml").write_text("id: r\ntitle: [")
    commands = {
        ("camera", "add", "Bad", str(tmp_path / "empty.mp4")): "is empty (0 bytes)",
        ("camera", "add", "Bad", RTSP, "--no-test", "--zone", "z=0,nan;1,0;1,1"): "finite",
        ("rule", "add", str(tmp_path / "rule.yaml")): "rule.yaml is not YAML",
        ("run", "notifier", "--port", "0"): f"process {house.pid}",
    }
    started = {words: begin(*words, folder=house.folder) for words in commands}
    wrong = {}
    for words, process in started.items():
        status, errors = said(process)
        if status == 0 or commands[words] not in errors or "Traceback" in errors:
            wrong[words] = (status, errors)
    assert wrong == {}
