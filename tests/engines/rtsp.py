"""RTSP cameras: a real GStreamer RTSP server under the system's own Python, with the accidents of real cameras.

Each camera has a port of its own, so that one can be unplugged while the others go on.
"""

import contextlib
import json
import signal
import subprocess
from pathlib import Path
from typing import IO, Literal, NamedTuple
from urllib.parse import quote

from tests.engines import folders, processes
from tests.engines.footage import Footage
from tests.engines.require import missing_engine

SERVER = Path(__file__).with_name("rtsp_cameras.py")
PROBE = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)


class Login(NamedTuple):
    """Who may look, and by which of the two methods of HTTP."""

    user: str
    password: str
    method: Literal["basic", "digest"] = "basic"


class RtspServer:
    """The process that plays all cameras. Commands go in as JSON lines and are answered in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._footage: dict[Footage, Path] = {}
        self._number = 0
        with (folder / "rtsp.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(folders.SYSTEM_PYTHON), str(SERVER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=processes.die_with_parent(signal.SIGKILL),
            )

    def mount(self, footage: Footage | None = None, *, login: Login | None = None) -> "RtspCamera":
        """A new camera that plays `footage` over and over; with `login` it demands credentials."""
        self._number += 1
        shot = footage or Footage()
        camera = RtspCamera(self, f"camera{self._number}", shot, login)
        self.ask("mount", camera.name, login=login, **self.film(shot))
        camera.plug()
        return camera

    def film(self, footage: Footage) -> dict[str, object]:
        """Where the encoded footage lies (encoded once) and its rate."""
        if footage not in self._footage:
            path = self.folder / f"footage{len(self._footage)}"
            footage.encode(path)
            self._footage[footage] = path
        return {"units": str(self._footage[footage]), **footage._asdict()}

    def ask(self, command: str, camera: str, **more: object) -> dict[str, object]:
        """Do one thing and return when it is done."""
        into, out = self._pipes()
        into.write(json.dumps({"do": command, "camera": camera, **more}) + "\n")
        into.flush()
        answer: dict[str, object] = json.loads(out.readline() or '{"error": "server ended"}')
        if "error" in answer:
            raise RuntimeError(f"{command} {camera}: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the RTSP server has no pipes")
        return self._process.stdin, self._process.stdout


class RtspCamera:
    """One camera. `url` carries no credentials, `url_with_login` does; both stay the same for its life."""

    def __init__(
        self, server: RtspServer, name: str, footage: Footage, login: Login | None
    ) -> None:
        self.name = name
        self.footage = footage
        self.port = processes.free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/{name}"
        self.url_with_login = self._with_login(login)
        self._server = server

    def plug(self) -> None:
        """Listen on its port (as `mount` does)."""
        self._server.ask("plug", self.name, port=self.port)

    def unplug(self) -> None:
        """Close every connection and the port: clients see a reset and then a refusal."""
        self._server.ask("unplug", self.name)

    def freeze(self) -> None:
        """Hang without data: sessions stay open, the control connection answers, no packet comes."""
        self._server.ask("freeze", self.name)

    def thaw(self) -> None:
        """Send again after `freeze`."""
        self._server.ask("thaw", self.name)

    def garble(self) -> None:
        """Send random bytes inside well-formed packets until `heal`."""
        self._server.ask("garble", self.name)

    def heal(self) -> None:
        """Send the true pictures again."""
        self._server.ask("heal", self.name)

    def show(self, footage: Footage) -> None:
        """Change what is played, its size too, in the middle of running sessions."""
        self.footage = footage
        self._server.ask("show", self.name, **self._server.film(footage))

    def viewers(self) -> int:
        """How many sessions are open."""
        return int(str(self._server.ask("viewers", self.name)["viewers"]))

    def remove(self) -> None:
        """Unplug and forget the camera."""
        self._server.ask("remove", self.name)

    def _with_login(self, login: Login | None) -> str:
        if login is None:
            return self.url
        who = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@"
        return self.url.replace("rtsp://", f"rtsp://{who}")


def here() -> bool:
    """GStreamer's RTSP server can be imported by the system's Python."""
    command = [str(folders.SYSTEM_PYTHON), "-c", PROBE]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def make_server(folder: Path) -> RtspServer:
    """A running server, or the skip (or failure) that says it is missing."""
    if not here():
        missing_engine("the GStreamer RTSP server is not installed")
    return RtspServer(folder)
