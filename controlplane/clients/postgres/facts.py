"""What `greenroom doctor` wants to know of Postgres. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.clients.postgres.driver import Driver

_QUERY = """
select json_build_object(
  'version', current_setting('server_version'),
  'number', current_setting('server_version_num')::int,
  'user', current_user,
  'database', current_database(),
  'may_create', coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
  'read_only', pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool,
  'durable', current_setting('fsync')::bool and current_setting('synchronous_commit') <> 'off',
  'connections', current_setting('max_connections')::int
)
"""


@dataclass(frozen=True, kw_only=True)
class PostgresFacts:
    """`number` is `server_version_num`; `may_create` tables in the schema we would use."""

    version: str
    number: int
    user: str
    database: str
    may_create: bool
    read_only: bool
    durable: bool
    connections: int


async def look(url: str, *, timeout_seconds: float = 5.0) -> PostgresFacts:
    """Raises `Unavailable`, or `Terminal` for a login that is refused."""
    driver = await Driver.connect(
        url, size=1, statement_cache_size=0, timeout_seconds=timeout_seconds
    )
    try:
        (found,) = await driver.rows(_QUERY)
    finally:
        await driver.close()
    return PostgresFacts(**found)
