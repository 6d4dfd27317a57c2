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
    from collections.abc import Mapping, Sequence

    from services.engines.places import Place

USER = DATABASE = "vantage"
SYSTEM_USER = "postgres"
DEBIAN = Path("/usr/lib/postgresql")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "log_line_prefix": "%m [%p] ",
}
NOT_INSTALLED = (
    "PostgreSQL (13 or newer) is not installed: apt-get install postgresql, or `make engines`"
)


class Postgres:
    """See `Engine`."""

    name = "postgres"
    setting = "db_url"
    ready = b"ready to accept connections"
    ends_by = signal.SIGINT
    dies_by = signal.SIGQUIT  # it takes its backends along

    def missing(self) -> str:
        """See `Engine.missing`."""
        if programs() is None:
            return NOT_INSTALLED
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
        text = configuration(SETTINGS | {"port": str(place.port)})
        (place.data / "postgresql.auto.conf").write_text(text)

    def command(self, place: Place) -> Sequence[str]:
        """See `Engine.command`."""
        return [*_as_its_user(), *server(place.data)]

    def url(self, place: Place) -> str:
        """See `Engine.url`."""
        return f"postgresql+asyncpg://{USER}:{place.password()}@127.0.0.1:{place.port}/{DATABASE}"


def configuration(settings: Mapping[str, str]) -> str:
    """Settings as the lines of a configuration file."""
    return "".join(f"{name} = '{value}'\n" for name, value in settings.items())


def server(data: Path) -> list[str]:
    """How a server is started on its data, by whoever owns that.

    Raises:
        Setup: PostgreSQL is not installed.
    """
    return [program("postgres"), "-D", str(data)]


def initdb(data: Path, *, user: str, password: Path, synced: bool = True) -> list[str]:
    """How the data of a server is made, with one superuser who comes in by password alone.

    Args:
        data: the folder to make.
        user: the superuser's name.
        password: the file that holds the superuser's password.
        synced: whether it is on disk when the command ends.

    Raises:
        Setup: PostgreSQL is not installed.
    """
    options = ["-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8"]
    return [
        *(program("initdb"), "-D", str(data), "-U", user),
        *(options if synced else [*options, "--no-sync"]),
    ]


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs.

    Raises:
        Setup: PostgreSQL is not installed.
    """
    folder = programs()
    if folder is None:
        raise Setup(NOT_INSTALLED)
    return str(folder / name)


def programs() -> Path | None:
    """The folder of the newest version's programs: Debian's place first, then PATH; None: there is none."""
    versions = [
        (int(path.parts[-2]), path)
        for path in DEBIAN.glob("*/bin")
        if re.fullmatch(r"\d+", path.parts[-2]) and (path / "initdb").exists()
    ]
    if versions:
        return max(versions)[1]
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def system_user() -> pwd.struct_passwd | None:
    """The user of this machine that it runs as where we are root; None: there is no such user."""
    return next((user for user in pwd.getpwall() if user.pw_name == SYSTEM_USER), None)


def _make(place: Place) -> None:
    """Make the data beside its place and move it there: a process killed in the middle leaves nothing half made."""
    unfinished = place.folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    place.password()
    _run(initdb(unfinished, user=USER, password=place.folder / "password"))
    _run(
        [program("postgres"), "--single", "-D", str(unfinished), "postgres"],
        say=f"CREATE DATABASE {DATABASE}\n",
    )
    unfinished.rename(place.data)


def _run(command: Sequence[str], say: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        [*_as_its_user(), *command],
        input=say,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Setup(f"PostgreSQL cannot make its data: {done.stderr[-500:].strip()}")


def _as_its_user() -> list[str]:
    user = system_user()
    if os.geteuid() != 0 or user is None:
        return []
    return ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]


def _may_change_names() -> bool:
    if system_user() is None or shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*_as_its_user(), "true"], capture_output=True, check=False)  # noqa: S603 - our own arguments
    return tried.returncode == 0
