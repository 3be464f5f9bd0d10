"""Which checks are due, in which order: what others need comes first."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from typing import Any

from controlplane.clients.postgres import Postgres
from controlplane.doctor import hub, services
from controlplane.doctor.finding import Finding, answered, warn
from controlplane.doctor.wanted import Wanted
from controlplane.errors import GreenroomError
from controlplane.model import PoolSpec
from controlplane.settings import Settings

SERVICE_SECONDS = 60.0
POOLS_SECONDS = 5.0


async def findings(settings: Settings, wanted: Wanted) -> AsyncIterator[Finding]:
    """One after the other, as they are found."""
    if wanted.hub_config is not None:
        look = hub.look(wanted.hub_config, wanted.hub_python)
        fix = "run the hub's configuration by hand: it hangs"
        for each in await answered(hub.CHECK, look, seconds=SERVICE_SECONDS * 2, fix=fix):
            yield each
    async for each in _services(settings, wanted):
        yield each
    if wanted.engine:
        async for each in _node(settings, wanted):
            yield each


async def _services(settings: Settings, wanted: Wanted) -> AsyncIterator[Finding]:
    checks: list[tuple[str, Any, str]] = []
    if wanted.control:
        checks += [
            (services.POSTGRES, services.look_at_postgres, "GREENROOM_POSTGRES_URL"),
            (services.SCHEMA, services.look_at_schema, "GREENROOM_POSTGRES_URL"),
            (services.REDIS, services.look_at_redis, "GREENROOM_REDIS_URL"),
        ]
    if wanted.control or wanted.node:
        checks.append((services.BROKER, services.look_at_broker, "GREENROOM_AMQP_URL"))
    for check, look, variable in checks:
        fix = f"start it, let its firewall pass this machine, and correct {variable}"
        for each in await answered(check, look(settings), seconds=SERVICE_SECONDS, fix=fix):
            yield each


async def _node(settings: Settings, wanted: Wanted) -> AsyncIterator[Finding]:
    try:
        ward = importlib.import_module("controlplane.doctor.ward")
    except ModuleNotFoundError as error:
        fix = "pip install 'greenroom[node,cli]'"
        yield warn("engine", f"nothing of a node was looked at: no {error.name} here", fix=fix)
        return
    pools = wanted.pools
    if pools is None:
        pools = await _applied(settings) if wanted.control else ()
    async for each in ward.findings(settings, wanted, pools):
        yield each


async def _applied(settings: Settings) -> tuple[PoolSpec, ...]:
    """The pools that are applied; none where Postgres does not say, which is told already."""
    try:
        postgres = await Postgres.connect(
            settings.postgres_url.get_secret_value(),
            size=1,
            statement_cache_size=0,
            timeout_seconds=POOLS_SECONDS,
        )
    except GreenroomError:
        return ()
    try:
        return tuple(pool.spec for pool in await postgres.pools.list())
    except GreenroomError:
        return ()
    finally:
        await postgres.close()
