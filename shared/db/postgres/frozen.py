"""Ends transactions whose process froze: stopped, swapped out, or in a machine that was paused.

The server does so itself after `idle_in_transaction_session_timeout`, but for one place: between the preparing of a
statement and its first execution, where asyncpg has the answer sent by Flush and not by Sync, a transaction counts as
active and neither that time-out nor `statement_timeout` runs (PostgreSQL 15, seen; 17 has `transaction_timeout`).
What it has locked would stay so for as long as the process is frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

_END = """
SELECT pid, pg_terminate_backend(pid) AS ended
  FROM pg_stat_activity
 WHERE datname = current_database()
   AND usename = current_user
   AND application_name = current_setting('application_name')
   AND state = 'active'
   AND wait_event = 'ClientRead'
   AND state_change < clock_timestamp() - current_setting('idle_in_transaction_session_timeout')::interval
"""
_log = structlog.get_logger()


async def end_frozen(connection: asyncpg.Connection) -> Sequence[int]:
    """End the transactions on our schema that have waited for their process in the midst of a statement for so long.

    Returns the process ids of the server's backends that were ended. A process that thaws finds its connection closed,
    and nothing of that transaction was committed.
    """
    found = await connection.fetch(_END)
    ended = [int(row["pid"]) for row in found if row["ended"]]
    if ended:
        _log.warning("frozen_transactions_ended", backends=ended)
    return ended
