"""`greenroom status`: one screen, whatever answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import typer

from controlplane.cli import nodes, pools
from controlplane.cli.doors import open_broker, open_index, open_postgres
from controlplane.cli.out import Shape, say, show, show_json
from controlplane.cli.words import Output
from controlplane.clients.postgres import Postgres, migrate
from controlplane.errors import GreenroomError
from controlplane.settings import Settings, load

T = TypeVar("T")

POOL_COLUMNS = ["pool", "rev", "target", "coming", "ready", "leased", "waiting", "why"]
NODE_COLUMNS = ["node", "state", "notebooks", "max_notebooks", "seen_s", "reason"]
OK = "ok"


def status(output: Output = Shape.TABLE) -> None:
    """Services, pools, nodes and leases. Exit code 1 when something does not answer or hold."""
    found = asyncio.run(_gather(load()))
    if output is Shape.JSON:
        show_json(found)
    else:
        _print(found)
    if not found["ok"]:
        raise typer.Exit(1)


async def _gather(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"pools": [], "nodes": [], "leases": {}, "violations": []}
    services = {
        "postgres": await _answer(lambda: _postgres(settings, found)),
        "rabbitmq": await _answer(lambda: _rabbitmq(settings)),
        "redis": await _answer(lambda: _redis(settings, found)),
    }
    healthy = all(answer == OK for answer in services.values()) and not found["violations"]
    return {"ok": healthy, "services": services, **found}


async def _answer(ask: Callable[[], Awaitable[str]]) -> str:
    try:
        return await ask()
    except GreenroomError as error:
        return str(error)


async def _postgres(settings: Settings, found: dict[str, Any]) -> str:
    postgres = await open_postgres(settings)
    try:
        url = settings.postgres_url.get_secret_value()
        schema = await asyncio.to_thread(migrate.status, url)
        if not schema.up_to_date:
            current = schema.current or "nothing"
            return f"schema at {current}, not {schema.newest}: greenroom db upgrade"
        await _look(postgres, found)
    finally:
        await postgres.close()
    return OK


async def _look(postgres: Postgres, found: dict[str, Any]) -> None:
    found["pools"] = await pools.rows(postgres)
    found["nodes"] = await nodes.rows(postgres)
    open_leases = await postgres.leases.list()
    found["leases"] = dict(Counter(lease.phase.value for lease in open_leases))
    found["violations"] = [vars(each) for each in await postgres.violations()]


async def _rabbitmq(settings: Settings) -> str:
    broker = await open_broker(settings)
    try:
        await broker.check()
    finally:
        await broker.close()
    return OK


async def _redis(settings: Settings, found: dict[str, Any]) -> str:
    index = await open_index(settings)
    try:
        if not await index.check():
            return "no answer: starts take the slower way through Postgres"
        for row in found["pools"]:
            row["indexed"] = await index.size(row["pool"])
    finally:
        await index.close()
    return OK


def _print(found: dict[str, Any]) -> None:
    services = [{"service": name, "answer": text} for name, text in found["services"].items()]
    show(services, ["service", "answer"], Shape.TABLE, empty="")
    if found["services"]["postgres"] != OK:
        # Nothing is known, which is not the same as that there is nothing.
        return
    _gap()
    shown = [pools.on_screen(row) for row in found["pools"]]
    show(shown, POOL_COLUMNS, Shape.TABLE, empty="no pool: greenroom pools apply -f FILE")
    _gap()
    show(found["nodes"], NODE_COLUMNS, Shape.TABLE, empty="no node: python -m workers agent")
    leases = found["leases"]
    _gap()
    rows = [{"leases": phase, "count": leases[phase]} for phase in sorted(leases)]
    show(rows, ["leases", "count"], Shape.TABLE, empty="no lease")
    for violation in found["violations"]:
        say(f"does not hold: {violation['invariant']}: {violation['key']}: {violation['detail']}")


def _gap() -> None:
    typer.echo("")
