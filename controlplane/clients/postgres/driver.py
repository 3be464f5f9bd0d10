"""One way to talk to Postgres: a timeout around everything, our errors, no reused wreck.

A hung server makes asyncpg's own pool hang in its clean-up, whatever timeout is around it,
so a connection on which anything was raised is terminated before the pool gets it back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import structlog

from controlplane.clients.postgres.queries import query
from controlplane.errors import Conflict, GreenroomError, Refused, Terminal, Unavailable

# Raised by our own SQL functions.
REFUSED = "GR001"
# What a call may raise that is no bug of ours; a timeout is an OSError.
TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# Two transactions in each other's way: looking again settles it.
_CONFLICTS = ("23505", "40")
# Connection, resources, shutdown, input or output errors, a server that only reads, cancelled.
_UNAVAILABLE = ("08", "53", "57", "58", "25006", "55P03")
# A password, rights, a database or a migration that is missing: an admin's to mend. Whoever
# starts is told so; a message in hand waits, for throwing it out would lose a request.
_SETUP = ("28", "3D", "3F", "42501", "42P01", "42883")

log = structlog.get_logger()


class Driver:
    """A pool of connections; every call is one statement and its own transaction."""

    def __init__(self, pool: Any, *, timeout_seconds: float) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        size: int,
        statement_cache_size: int,
        timeout_seconds: float,
        warmed: bool = False,
    ) -> Driver:
        """Raises `Unavailable` when the first connections cannot be made in time.

        `warmed`: two are made, and both have done a click that never happened. Those that a
        burst adds have no time for that.
        """
        at_once = min(2, size) if warmed else 1
        pool = asyncpg.create_pool(
            url,
            min_size=at_once,
            max_size=size,
            max_inactive_connection_lifetime=0,
            statement_cache_size=statement_cache_size,
            timeout=timeout_seconds,
            server_settings={"application_name": "greenroom", "timezone": "UTC"},
            init=_clicks(at_once) if warmed else None,
            reset=_leave_as_it_is,
        )
        try:
            async with asyncio.timeout(timeout_seconds * 2):
                await pool
        except TROUBLE as error:
            raise _ours(error, "connect", starting=True) from error
        return cls(pool, timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        """Waits for running calls, which have timeouts, and then for nothing."""
        try:
            async with asyncio.timeout(self._timeout_seconds * 2):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def call(self, function: str, *arguments: Any) -> Any:
        """The JSON that one of our SQL functions returns, parsed."""
        places = ", ".join(f"${n}" for n in range(1, len(arguments) + 1))
        text = await self.value(f"select {function}({places})", *arguments)
        return None if text is None else json.loads(text)

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        """Each row's only column, which is JSON, parsed."""
        found = await self._run(lambda c: c.fetch(statement, *arguments), statement)
        return [json.loads(row[0]) for row in found]

    async def table(self, statement: str, *arguments: Any) -> list[Any]:
        """Rows with their columns as they are, for what is too long to travel as JSON."""
        return list(await self._run(lambda c: c.fetch(statement, *arguments), statement))

    async def value(self, statement: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return await self._run(lambda c: c.fetchval(statement, *arguments), statement)

    async def _run(self, call: Callable[[Any], Awaitable[Any]], statement: str) -> Any:
        # The way of every call: without a context manager that is one task switch per layer.
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._on_a_connection(call)
        except TROUBLE as error:
            raise _ours(error, statement) from error

    async def _on_a_connection(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        connection = await self._pool.acquire()
        try:
            return await call(connection)
        except BaseException:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection)


def _ours(error: Exception, doing: str, *, starting: bool = False) -> GreenroomError:
    """Driver errors become ours; the query's first line says what was being done."""
    what = doing.partition("\n")[0][:80]
    if isinstance(error, asyncpg.PostgresError):
        return _translate(error, what, starting=starting)
    if isinstance(error, TimeoutError):
        return Unavailable(f"Postgres did not answer in time: {what}")
    return Unavailable(f"no connection to Postgres: {type(error).__name__}: {what}")


def _translate(error: asyncpg.PostgresError, what: str, *, starting: bool) -> GreenroomError:
    state = error.sqlstate or ""
    if state == REFUSED:
        return Refused(error.args[0])
    if state.startswith(_CONFLICTS):
        return Conflict(f"somebody else was first: {what}")
    if state.startswith(_UNAVAILABLE):
        return Unavailable(f"Postgres cannot do it now ({state}): {what}")
    if state.startswith(_SETUP) and not starting:
        return Unavailable(
            f"Postgres is not set up for this ({state}: {error.args[0]}): check the login, "
            f"run greenroom db upgrade: {what}"
        )
    return Terminal(f"{error.args[0]} ({state}): {what}")


def _clicks(connections: int) -> Callable[[Any], Awaitable[None]]:
    """One dry click on each of so many connections, and nothing on later ones."""
    left = iter(range(connections))

    async def click(connection: Any) -> None:
        if next(left, None) is not None:
            await _click(connection)

    return click


async def _click(connection: Any) -> None:
    """A session compiles each function at its first call, which is for nobody to wait for."""
    try:
        await connection.execute(query("dry_click"))
    except asyncpg.PostgresError as error:
        # No schema yet, or a server that only reads: the calls themselves say what is wrong.
        log.info("connection.cold", error=str(error))
    except BaseException:
        # The pool would close it, and wait for a server that is silent.
        connection.terminate()
        raise


async def _leave_as_it_is(connection: Any) -> None:
    """No call changes the session, so nothing needs a round trip to be reset."""
