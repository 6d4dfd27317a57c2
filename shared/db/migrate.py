"""Migrations: Alembic run by the process itself, a chain for the platform's tables and one for the service's.

A service's package (`services.<s>.migrations`) holds `versions/0001_*.py` and nothing else is needed. Both
chains run in one transaction, each with a version table of its own.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from shared.errors import Setup

if TYPE_CHECKING:
    from sqlalchemy import Connection

PLATFORM = "shared.db.migrations"


def migrate(connection: Connection, *, service: str, migrations: str | None) -> None:
    """Bring the database of a service to the schema of this code, within the connection's transaction.

    Raises:
        Setup: the database is ahead of this code, or the package of migrations is not there.
    """
    _upgrade(connection, "platform", PLATFORM, service)
    if migrations is not None:
        _upgrade(connection, service, migrations, service)


def _upgrade(connection: Connection, chain: str, package: str, service: str) -> None:
    script = ScriptDirectory(_folder(package))
    table = f"{chain}_alembic"
    heads = set(script.get_heads())
    current = set(_context(connection, table).get_current_heads())
    if current == heads:
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if not current <= known:
        raise Setup(
            f"the database of {service} was written by a newer Vantage ({chain} schema "
            f"{', '.join(sorted(current))}, this one knows {', '.join(sorted(heads))}); "
            "run that version, or restore the backup made before it"
        )
    _run(connection, script, table)


def _run(connection: Connection, script: ScriptDirectory, table: str) -> None:
    def steps(revision: str, _context: MigrationContext) -> list[Any]:
        return script._upgrade_revs("heads", revision)

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, version_table=table, transactional_ddl=True)
        environment.run_migrations()


def _context(connection: Connection, table: str) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": table})


def _folder(package: str) -> str:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Setup(f"the migrations {package} are missing; reinstall Vantage")
    return next(iter(spec.submodule_search_locations))
