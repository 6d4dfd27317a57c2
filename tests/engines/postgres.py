"""A real PostgreSQL server: loopback, a random port, `fsync=on`, data in a folder of its own.

PostgreSQL refuses to run as root: there it runs as the system's user `postgres`, else as whoever runs the tests.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

from services.engines import postgres
from services.engines.postgres import Postgres
from tests.engines import processes
from tests.engines.certificates import Certificates
from tests.engines.require import require_engine
from tests.engines.server import EngineServer

SUPERUSER = "postgres"
PASSWORD = "of-the-superuser"
SETTINGS = {"fsync": "on", "max_connections": "100", "restart_after_crash": "off"}


class PostgresServer(EngineServer):
    """One server. Its address stays the same over kill, stop and start.

    Where it is stopped, clients are cut off (a fast shutdown). `extra`: lines of its configuration.
    """

    name = Postgres.name
    ready = Postgres.ready
    ends_by = Postgres.ends_by

    def __init__(self, *, extra: str = "", data: Path | None = None) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="vantage-postgres-")))
        self.data = data or self.folder / "data"
        self._owner = postgres.system_user() if os.geteuid() == 0 else None
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
            [postgres.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *address, *texts],
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
            file.write(postgres.configuration(settings))

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
            self._hand_over(place)
        self.configure(ssl="on", ssl_ca_file="root.crt")
        rules = self.data / "pg_hba.conf"
        own = f"hostssl all {by_certificate} 127.0.0.0/8 cert\n"
        rules.write_text(own + rules.read_text().replace("127.0.0.1/32", "127.0.0.0/8"))

    @property
    def ended(self) -> bool:
        """Whether it ended by itself, as it does when it cannot write its log."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """Kill -9, the server and all its backends at once."""
        if self._process is not None and not self.ended:
            self._each(psutil.Process.kill)
        super().kill()

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

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _each(self, act: Callable[[psutil.Process], None]) -> None:
        """Do it to the server first, so that it starts no further backend, then to its backends."""
        server = psutil.Process(self._running().pid)
        act(server) if act is not psutil.Process.kill else server.suspend()
        for one in server.children(recursive=True):
            try:
                act(one)
            except psutil.NoSuchProcess:
                continue  # it ended by itself meanwhile

    def _make(self, extra: str) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        for path in (self.folder, word):
            self._hand_over(path)
        command = postgres.initdb(self.data, user=SUPERUSER, password=word, synced=False)
        with self.log.open("ab") as out:
            subprocess.run(
                command,
                check=True,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                **processes.as_user(self._owner),
            )
        own = {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        self.configure(**(postgres.SETTINGS | SETTINGS | own))
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(extra)

    def _hand_over(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def _command(self) -> list[str]:
        return postgres.server(self.data)

    def _spawned(self) -> subprocess.Popen[bytes]:
        return processes.spawn(self._command(), log=self.log, folder=self.folder, user=self._owner)


def make_postgres(*, extra: str = "", data: Path | None = None) -> PostgresServer:
    """A started server, or the skip (or failure) that says what is missing.

    `extra`: lines of its configuration; `data`: where its data lie, in a folder that its user may write to.
    """
    require_engine(missing())
    server = PostgresServer(extra=extra, data=data)
    server.start()
    return server


def missing() -> str:
    """What this machine lacks to run it as tests do, with the remedy; empty where it can run.

    Less than `Postgres.missing` asks for: root hands the data over and needs no user namespace.
    """
    if postgres.programs() is None:
        return postgres.NOT_INSTALLED
    if os.geteuid() == 0 and postgres.system_user() is None:
        return f"PostgreSQL does not run as root: add the user {postgres.SYSTEM_USER}, or `make engines`"
    return ""
