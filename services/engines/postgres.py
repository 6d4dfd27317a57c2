"""PostgreSQL with one user and one database, both `vantage`.

It refuses to run as root. There it runs as its own user in a user namespace: its files stay ours on disk, so that they
can stand in a data folder that nobody else may enter.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import Setup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.engines.places import Place

USER = DATABASE = "vantage"
SYSTEM_USER = "postgres"
DEBIAN = Path("/usr/lib/postgresql")
CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 64MB
max_wal_size = 256MB
log_line_prefix = '%m [%p] '
"""


class Postgres:
    """See `Engine`."""

    name = "postgres"
    setting = "db_url"
    ready = b"ready to accept connections"
    ends_by = signal.SIGINT
    dies_by = signal.SIGQUIT  # it takes its backends along

    def missing(self) -> str:
        """See `Engine.missing`."""
        if _folder() is None:
            return "PostgreSQL (13 or newer) is not installed: apt-get install postgresql, or `make engines`"
        if os.geteuid() == 0 and not _may_change_names():
            return (
                "PostgreSQL does not run as root, and this machine gives no user namespaces to run it in: "
                "start Vantage as another user, or name a server of yours in VANTAGE_DB_URL"
            )
        return ""

    def prepare(self, place: Place) -> None:
        """See `Engine.prepare`."""
        if not (place.data / "PG_VERSION").exists():
            _make(place)
        text = CONFIGURATION.format(port=place.port)
        (place.data / "postgresql.auto.conf").write_text(text)

    def command(self, place: Place) -> Sequence[str]:
        """See `Engine.command`."""
        return [*_as_its_user(), _program("postgres"), "-D", str(place.data)]

    def url(self, place: Place) -> str:
        """See `Engine.url`."""
        return f"postgresql+asyncpg://{USER}:{place.password()}@127.0.0.1:{place.port}/{DATABASE}"


def _make(place: Place) -> None:
    """Make the data beside its place and move it there: a process killed in the middle leaves nothing half made."""
    unfinished = place.folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    place.password()
    options = ["-A", "scram-sha-256", f"--pwfile={place.folder / 'password'}", "-E", "UTF8"]
    _run("initdb", "-D", str(unfinished), "-U", USER, *options, "--locale=C.UTF-8")
    _run(
        "postgres",
        "--single",
        "-D",
        str(unfinished),
        "postgres",
        say=f"CREATE DATABASE {DATABASE}\n",
    )
    unfinished.rename(place.data)


def _run(program: str, *arguments: str, say: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        [*_as_its_user(), _program(program), *arguments],
        input=say,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Setup(f"PostgreSQL cannot make its data: {done.stderr[-500:].strip()}")


def _as_its_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(SYSTEM_USER)
    return ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]


def _may_change_names() -> bool:
    known = any(user.pw_name == SYSTEM_USER for user in pwd.getpwall())
    if not known or shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*_as_its_user(), "true"], capture_output=True, check=False)  # noqa: S603 - our own arguments
    return tried.returncode == 0


def _program(name: str) -> str:
    folder = _folder()
    if folder is None:
        raise Setup("PostgreSQL is not installed")
    return str(folder / name)


def _folder() -> Path | None:
    """The programs of the newest version: Debian's place first, then PATH."""
    versions = [
        (int(path.parts[-2]), path)
        for path in DEBIAN.glob("*/bin")
        if re.fullmatch(r"\d+", path.parts[-2]) and (path / "initdb").exists()
    ]
    if versions:
        return max(versions)[1]
    found = shutil.which("initdb")
    return Path(found).parent if found else None
