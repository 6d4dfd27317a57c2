"""RTSP cameras by GStreamer. Runs under the system's Python (PyGObject), not in the project's environment.

Reads one JSON command a line from standard input and answers each with one JSON line.
"""

import json
import os
import random
import sys
import threading
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  # after require_version

PAYLOADS = {
    "h264": (
        "video/x-h264,stream-format=byte-stream,alignment=au",
        "rtph264pay config-interval=-1",
    ),
    "mjpeg": ("image/jpeg,width={width},height={height}", "rtpjpegpay"),
}
LAUNCH = (
    "( appsrc name=film is-live=true format=time caps={caps} ! identity sync=true"
    " ! {payload} name=pay0 pt=96 )"
)


class Film:
    """What the camera shows now. Read by the streaming threads, changed by commands."""

    def __init__(self, units, fps):
        self.frozen = False
        self.garbled = False
        self.show(units, fps)

    def show(self, folder, fps):
        """Play another film from its first picture."""
        files = sorted(Path(folder).iterdir())
        self.reel = ([path.read_bytes() for path in files], fps)

    def unit(self, reel, index):
        """The bytes of the index-th picture of a reel; random after the first header when garbled."""
        whole = reel[0][index % len(reel[0])]
        if not self.garbled:
            return whole
        return b"\x00\x00\x00\x01\x65" + random.Random(index).randbytes(len(whole))


class Projector:
    """Feeds one session's pipeline, one access unit for each request of the source."""

    def __init__(self, film, media, source):
        self.film, self.media, self.source = film, media, source
        self.reel, self.index, self.time = film.reel, 0, 0
        self.hungry = False
        source.connect("need-data", self.feed)

    def feed(self, source, _length):
        """Push the next picture, or remember that one is due."""
        if self.film.frozen:
            self.hungry = True
            return
        if self.reel is not self.film.reel:
            self.reel, self.index = self.film.reel, 0
        step = Gst.SECOND // self.reel[1]
        buffer = Gst.Buffer.new_wrapped(self.film.unit(self.reel, self.index))
        buffer.pts = buffer.dts = self.time
        buffer.duration = step
        self.index, self.time = self.index + 1, self.time + step
        source.emit("push-buffer", buffer)

    def wake(self):
        """Go on after a freeze, at the present time rather than where it stopped."""
        if self.hungry:
            self.hungry = False
            self.time = max(self.time, self.source.get_current_running_time())
            self.feed(self.source, 0)


class Camera:
    """One RTSP server on one port with one mount."""

    def __init__(self, name, film, order):
        self.name, self.film, self.login = name, film, order["login"]
        caps, self.payload = PAYLOADS[order["codec"]]
        self.caps = caps.format(width=order["width"], height=order["height"])
        self.projectors = []
        self.server = None
        self.source = 0

    def plug(self, port):
        """Listen."""
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(str(port))
        self.server.get_mount_points().add_factory(f"/{self.name}", self.factory())
        if self.login:
            self.server.set_auth(guard(*self.login))
        self.source = self.server.attach(None)
        if not self.source:
            raise RuntimeError(f"port {port} is taken")

    def unplug(self):
        """Close every client, then the port."""
        if self.server is not None:
            self.server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
            GLib.source_remove(self.source)
            self.server = None
        self.projectors.clear()

    def factory(self):
        """One pipeline for each session, so that a late viewer starts at a key frame."""
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(LAUNCH.format(caps=self.caps, payload=self.payload))
        factory.set_shared(False)
        factory.connect("media-configure", self.configure)
        if self.login:
            allowed = GstRtspServer.RTSPPermissions()
            for right in ("media.factory.access", "media.factory.construct"):
                allowed.add_permission_for_role("viewer", right, True)
            factory.set_permissions(allowed)
        return factory

    def configure(self, _factory, media):
        """A session begins."""
        source = media.get_element().get_by_name("film")
        projector = Projector(self.film, media, source)
        self.projectors.append(projector)
        media.connect("unprepared", lambda *_: self.leave(projector))

    def leave(self, projector):
        """A session ended."""
        if projector in self.projectors:
            self.projectors.remove(projector)

    def thaw(self):
        """Go on in every session."""
        self.film.frozen = False
        for projector in list(self.projectors):
            projector.wake()


def guard(user, password, method):
    """Ask for Basic or Digest credentials."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(getattr(GstRtsp.RTSPAuthMethod, method.upper()))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    auth.add_digest(user, password, token)
    return auth


class Desk:
    """Carries out the commands, on the main loop."""

    def __init__(self):
        self.cameras = {}

    def answer(self, line):
        """Do one command and write its answer."""
        order = json.loads(line)
        try:
            said = self.obey(order.pop("do"), order.pop("camera"), order) or {}
        except (KeyError, RuntimeError, OSError, TypeError) as problem:
            said = {"error": f"{type(problem).__name__}: {problem}"}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        return False

    def obey(self, command, name, order):
        """Each command is a method of this table."""
        if command == "mount":
            film = Film(order["units"], order["fps"])
            self.cameras[name] = Camera(name, film, order)
            return None
        camera = self.cameras[name]
        film = camera.film
        return {
            "plug": lambda: camera.plug(order["port"]),
            "unplug": camera.unplug,
            "freeze": lambda: setattr(film, "frozen", True),
            "thaw": camera.thaw,
            "garble": lambda: setattr(film, "garbled", True),
            "heal": lambda: setattr(film, "garbled", False),
            "show": lambda: film.show(order["units"], order["fps"]),
            "viewers": lambda: {"viewers": len(camera.projectors)},
            "remove": lambda: (camera.unplug(), self.cameras.pop(name))[2:] or None,
        }[command]()


def listen(desk):
    """Hand each line of standard input to the main loop; end with the parent."""
    for line in sys.stdin:
        GLib.idle_add(desk.answer, line)
    os._exit(0)


def main():
    """Run until standard input closes."""
    Gst.init(None)
    threading.Thread(target=listen, args=(Desk(),), daemon=True).start()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
