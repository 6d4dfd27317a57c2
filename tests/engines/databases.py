"""A service's database by URL, as the platform opens it: the same tests on SQLite and PostgreSQL."""

from contextlib import AbstractAsyncContextManager

from shared.clock import Clock
from shared.db.engine import Database
from shared.db.postgres import open_postgres
from shared.db.sqlite import open_sqlite


def open_database(
    url: str, *, service: str, clock: Clock, migrations: str | None = None
) -> AbstractAsyncContextManager[Database]:
    """The database of a service at `url`; `migrations` as in its SERVICE."""
    opens = open_sqlite if url.startswith("sqlite") else open_postgres
    return opens(url, service=service, clock=clock, migrations=migrations)
