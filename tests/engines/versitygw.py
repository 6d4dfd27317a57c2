"""A real S3-compatible store: versitygw over a folder, one process, loopback, a random port."""

from pathlib import Path
from urllib.parse import urlencode

from tests.engines import folders
from tests.engines.certificates import Certificates
from tests.engines.require import missing_engine
from tests.engines.server import EngineServer

ACCESS, SECRET = "vantage-test", "canary-s3-5b1e"
REGION = "us-east-1"


class S3Server(EngineServer):
    """One store with the bucket `vantage`. Port and URL stay the same over kill and start."""

    name = "versitygw"
    bucket = "vantage"

    def __init__(self, folder: Path, *, tls: Certificates | None = None) -> None:
        super().__init__(folder.absolute())
        self.tls = tls
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        for name in ("data", "iam", "versions"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "data" / self.bucket).mkdir(exist_ok=True)

    def url(self, prefix: str = "", **options: str) -> str:
        """The store as VANTAGE_BLOB_URL names it."""
        given = {"endpoint": self.endpoint, "region": REGION, **options}
        return f"s3://{self.bucket}/{prefix}?{urlencode(given)}"

    def _command(self) -> list[str]:
        options = ["--port", f"127.0.0.1:{self.port}", "--region", REGION]
        options += ["--access", ACCESS, "--secret", SECRET, "--iam-dir", str(self.folder / "iam")]
        if self.tls is not None:
            options += ["--cert", str(self.tls.server.cert), "--key", str(self.tls.server.key)]
        place = ["--versioning-dir", str(self.folder / "versions"), str(self.folder / "data")]
        return [str(folders.versitygw()), *options, "posix", *place]


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
