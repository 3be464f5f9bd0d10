"""Postgres or the broker goes away for a while: people wait, and then they are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from controlplane.messages import LeaseServing
from tests.lease.conftest import House
from tests.truth.stage import ask
from tests.working.fault_proxy import FaultProxy

pytestmark = pytest.mark.services


@pytest.fixture
async def postgres_road(migrated_url: str) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(migrated_url)
    await proxy.open()
    yield proxy
    await proxy.close()


async def test_without_postgres_people_wait_and_are_then_served(
    house: House, postgres_road: FaultProxy
) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(6)
    copy = await house.worker(postgres_url=SecretStr(postgres_road.url))
    before = ask("before")
    await hub.asks(before)
    await hub.hears(LeaseServing, before.lease)

    postgres_road.down()
    requests = [ask(f"user{n}") for n in range(4)]
    await asyncio.gather(*(hub.asks(request) for request in requests))
    await copy.until_paused("lease.requests")
    served_without = len(hub.all(LeaseServing))
    postgres_road.up()
    for request in requests:
        await hub.hears(LeaseServing, request.lease)

    assert served_without == 1
    assert agent.doubles == []
    assert await house.postgres.violations() == []
