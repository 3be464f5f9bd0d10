"""What is held back is said after a while, unless something stronger was."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from controlplane.apply.patience import Patience
from controlplane.apply.sending import Sending
from controlplane.clients.rabbitmq import hub
from controlplane.errors import Unavailable
from controlplane.messages import LeaseEnded

LEASE = "00000000-0000-7000-8000-000000000001"
OTHER = "00000000-0000-7000-8000-000000000002"


class Broker:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: asyncio.Queue[str] = asyncio.Queue()

    async def publish(self, body: LeaseEnded, *_: object, **__: object) -> None:
        self.sent.put_nowait(body.lease)
        if self.errors:
            raise self.errors.pop()


def words(lease: str = LEASE) -> list[Sending]:
    return [Sending(body=LeaseEnded(lease=lease, reason="stopped"), route=hub("hub1-a"))]


async def said(broker: Broker) -> str:
    async with asyncio.timeout(30):
        return await broker.sent.get()


async def test_what_nobody_forgets_is_said() -> None:
    broker = Broker()

    Patience(cast(Any, broker), seconds=0).hold(LEASE, words())

    assert await said(broker) == LEASE


async def test_what_is_forgotten_is_never_said() -> None:
    broker = Broker()
    patience = Patience(cast(Any, broker), seconds=0)

    patience.hold(LEASE, words())
    patience.forget(LEASE)
    patience.forget(OTHER)
    patience.hold(OTHER, words(OTHER))

    assert await said(broker) == OTHER
    assert broker.sent.empty()


async def test_news_of_the_same_lease_take_the_place_of_older_ones() -> None:
    broker = Broker()
    patience = Patience(cast(Any, broker), seconds=0)

    patience.hold(LEASE, words(OTHER))
    patience.hold(LEASE, words())

    assert await said(broker) == LEASE
    assert broker.sent.empty()


async def test_a_broker_that_is_away_costs_a_hint_and_nothing_else() -> None:
    broker = Broker(Unavailable("away"))
    patience = Patience(cast(Any, broker), seconds=0)

    patience.hold(LEASE, words())
    first = await said(broker)
    patience.hold(OTHER, words(OTHER))

    assert (first, await said(broker)) == (LEASE, OTHER)
