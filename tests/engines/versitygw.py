"""A real S3-compatible store: versitygw over a folder, one process, loopback, a random port."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.engines import folders, processes
from tests.engines.certificates import Certificates
from tests.engines.require import missing_engine

if TYPE_CHECKING:
    import subprocess

ACCESS, SECRET = "vantage-test", "canary-s3-5b1e"
REGION = "us-east-1"


class S3Server:
    """One store with the bucket `vantage`. Port and URL stay the same over kill and start."""

    bucket = "vantage"

    def __init__(self, folder: Path, *, tls: Certificates | None = None) -> None:
        self.folder = folder.absolute()
        self.log = folder / "versitygw.log"
        self.port = processes.free_port()
        self.tls = tls
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("data", "iam", "versions"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "data" / self.bucket).mkdir(exist_ok=True)

    def url(self, prefix: str = "", **options: str) -> str:
        """The store as VANTAGE_BLOB_URL names it."""
        given = {"endpoint": self.endpoint, "region": REGION, **options}
        return f"s3://{self.bucket}/{prefix}?{urlencode(given)}"

    def start(self) -> None:
        """Start on the data that is there and return when it accepts calls."""
        self._process = processes.spawn(self._command(), log=self.log)
        processes.wait_until(self._accepts, seconds=30, process=self._process, log=self.log)

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open and nothing answers."""
        processes.freeze(self._running())

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        processes.thaw(self._running())

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("versitygw is not running")
        return self._process

    def _command(self) -> list[str]:
        options = ["--port", f"127.0.0.1:{self.port}", "--region", REGION]
        options += ["--access", ACCESS, "--secret", SECRET, "--iam-dir", str(self.folder / "iam")]
        if self.tls is not None:
            options += ["--cert", str(self.tls.server.cert), "--key", str(self.tls.server.key)]
        place = ["--versioning-dir", str(self.folder / "versions"), str(self.folder / "data")]
        return [str(folders.versitygw()), *options, "posix", *place]

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_s3(folder: Path, *, tls: Certificates | None = None) -> S3Server:
    """A started store, or the skip (or failure) that says that it is missing."""
    if not here():
        missing_engine(f"versitygw {folders.VERSITYGW_VERSION} is not in {folders.engines()}")
    server = S3Server(folder, tls=tls)
    server.start()
    return server


def here() -> bool:
    """Whether this machine has versitygw."""
    return folders.versitygw().is_file()
