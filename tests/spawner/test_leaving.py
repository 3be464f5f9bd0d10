"""When everybody stops at once, each lease is released once, and one that failed goes out later."""

from __future__ import annotations

import asyncio

from controlplane.clients.rabbitmq import Route
from controlplane.errors import Unavailable
from controlplane.messages import LeaseRelease, Message
from controlplane.spawner import identity
from controlplane.spawner.door import Door
from tests.spawner import stage


class SlowRoad(stage.Road):
    """A broker that confirms releases when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.confirms = asyncio.Event()

    async def publish(
        self, body: Message, route: Route, *, expires_ms: int | None = None, traceparent: str = ""
    ) -> None:
        await super().publish(body, route, expires_ms=expires_ms, traceparent=traceparent)
        if isinstance(body, LeaseRelease):
            await self.confirms.wait()


def released(road: stage.Road) -> list[str]:
    return [message.lease for message in road.all(LeaseRelease)]


async def test_forty_who_leave_at_once_send_forty_releases() -> None:
    road = SlowRoad()
    door = await stage.open_door(road)
    leases = [identity.lease_id() for _ in range(40)]

    leaving = [asyncio.create_task(door.release(lease, "stopped")) for lease in leases]
    await road.until(lambda: len(released(road)) >= len(leases))
    # The inventory's turn may come while they are under way.
    async with asyncio.timeout(stage.SOON):
        await door.tell_inventory()
    road.confirms.set()
    await asyncio.gather(*leaving)

    assert sorted(released(road)) == sorted(leases)
    await door.close()


async def test_what_the_broker_did_not_take_goes_out_with_the_next_inventory(
    road: stage.Road, door: Door
) -> None:
    road.broken = Unavailable("no broker")
    lease = identity.lease_id()
    await door.release(lease, "stopped")
    assert released(road) == []

    road.broken = None
    await door.tell_inventory()
    await door.tell_inventory()

    assert released(road) == [lease]
