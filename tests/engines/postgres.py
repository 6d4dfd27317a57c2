"""A real PostgreSQL server: loopback, a random port, `fsync=on`, data in a folder of its own.

PostgreSQL refuses to run as root: there it runs as the system's user `postgres`, else as whoever runs the tests.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.engines import processes
from tests.engines.certificates import Certificates
from tests.engines.require import missing_engine

SUPERUSER = "postgres"
PASSWORD = "of-the-superuser"
CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = on
max_connections = 100
shared_buffers = 64MB
max_wal_size = 256MB
restart_after_crash = off
log_line_prefix = '%m [%p] '
"""


class PostgresServer:
    """One server. Its address stays the same over kill, stop and start."""

    def __init__(self, *, extra: str = "", data: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vantage-postgres-"))
        self.data = data or self.folder / "data"
        self.log = self.folder / "server.log"
        self.port = processes.free_port()
        self._owner = _owner()
        self._process: subprocess.Popen[bytes] | None = None
        self._make(extra)

    def url(self, database: str, *, user: str = SUPERUSER, password: str = PASSWORD) -> str:
        """VANTAGE_DB_URL of a database on this server."""
        return f"postgresql+asyncpg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, options: str = "") -> str:
        """An empty database of a fresh name; returns the name."""
        name = f"t{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name} {options}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def sql(self, *commands: str, database: str = "postgres") -> str:
        """Run commands as the superuser, each in a transaction of its own; returns what `psql` printed."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        texts = [part for command in commands for part in ("-c", command)]
        done = subprocess.run(
            [str(_program("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", *address, *texts],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"psql {commands}: {done.stderr}")
        return done.stdout.strip()

    def configure(self, **settings: str) -> None:
        """Change settings of the server; most need a restart."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def speak_tls(self, certificates: Certificates, *, by_certificate: str) -> None:
        """Offer TLS from the next start on; the user `by_certificate` comes in by certificate alone."""
        for name, source in (
            ("server.crt", certificates.server.cert),
            ("server.key", certificates.server.key),
            ("root.crt", certificates.ca),
        ):
            place = self.data / name
            place.touch(mode=0o600)
            place.write_bytes(source.read_bytes())
            if self._owner is not None:
                os.chown(place, self._owner.pw_uid, self._owner.pw_gid)
        self.configure(ssl="on", ssl_ca_file="root.crt")
        rules = self.data / "pg_hba.conf"
        own = f"hostssl all {by_certificate} 127.0.0.0/8 cert\n"
        rules.write_text(own + rules.read_text().replace("127.0.0.1/32", "127.0.0.0/8"))

    def start(self) -> None:
        """Start on the data that is there and return when clients can work."""
        heard = self._readied()
        command = [str(_program("postgres")), "-D", str(self.data)]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                preexec_fn=processes.die_with_parent,
                **self._as_owner(),
            )
        processes.wait_until(
            lambda: self._readied() > heard, seconds=60, process=self._process, log=self.log
        )

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, as it does when it cannot write its log."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """Shut down in order (a fast shutdown: clients are cut off)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            processes.end(self._process, grace=30)
            self._process = None

    def kill(self) -> None:
        """Kill -9, the server and all its backends at once."""
        if self._process is not None:
            if not self.ended:
                self._each(psutil.Process.kill)
            processes.kill(self._process)
            self._process = None

    def freeze(self) -> None:
        """Stop the server and all its backends in their tracks: connections stay open and nothing answers."""
        self._each(psutil.Process.suspend)

    def thaw(self) -> None:
        """Let them go on."""
        self._each(psutil.Process.resume)

    def remove(self) -> None:
        """Kill it and forget its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _each(self, act: Callable[[psutil.Process], None]) -> None:
        """Do it to the server first, so that it starts no further backend, then to its backends."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        server = psutil.Process(self._process.pid)
        act(server) if act is not psutil.Process.kill else server.suspend()
        for one in server.children(recursive=True):
            try:
                act(one)
            except psutil.NoSuchProcess:
                continue  # it ended by itself meanwhile

    def _make(self, extra: str) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        if self._owner is not None:
            for path in (self.folder, word):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        command = [str(_program("initdb")), "-D", str(self.data), "-U", SUPERUSER]
        options = ["-A", "scram-sha-256", f"--pwfile={word}", "-E", "UTF8", "--locale=C.UTF-8"]
        with self.log.open("ab") as out:
            subprocess.run(
                [*command, *options, "-N"],
                check=True,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                **self._as_owner(),
            )
        text = CONFIGURATION.format(port=self.port, folder=self.folder)
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(text + extra)

    def _as_owner(self) -> dict[str, Any]:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}

    def _readied(self) -> int:
        return self.log.read_text(errors="replace").count("ready to accept connections")


def make_postgres(*, extra: str = "", data: Path | None = None) -> PostgresServer:
    """A started server, or the skip (or failure) that says what is missing.

    `extra`: lines of its configuration; `data`: where its data lie, in a folder that its user may write to.
    """
    if not here():
        missing_engine("PostgreSQL (13 or newer) is not installed")
    server = PostgresServer(extra=extra, data=data)
    server.start()
    return server


def here() -> bool:
    """A server's programs are on this machine, and so is a user that may run them."""
    return _folder() is not None and (os.geteuid() != 0 or _has_user())


def _owner() -> pwd.struct_passwd | None:
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def _has_user() -> bool:
    return any(user.pw_name == "postgres" for user in pwd.getpwall())


def _program(name: str) -> Path:
    folder = _folder()
    if folder is None:
        raise RuntimeError("PostgreSQL is not installed")
    return folder / name


def _folder() -> Path | None:
    """The programs of the newest version: Debian's place first, then PATH."""
    versions = [
        (int(path.parts[-2]), path)
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if re.fullmatch(r"\d+", path.parts[-2]) and (path / "initdb").exists()
    ]
    if versions:
        return max(versions)[1]
    found = shutil.which("initdb")
    return Path(found).parent if found else None
