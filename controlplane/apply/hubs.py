"""What a hub's rows imply: its snapshot in parts that fit, and places in the lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar
from uuid import uuid4

from controlplane.apply.sending import Sending, send
from controlplane.clients import rabbitmq as routes
from controlplane.clients.rabbitmq import Broker
from controlplane.decide.expect import Shelf, Shelves, expect
from controlplane.messages import (
    HubPools,
    HubSnapshot,
    KnownLease,
    KnownPool,
    LinePlaces,
    Message,
)
from controlplane.model.rows import Lease, Pool

# Half of what an envelope may hold: the estimate below leaves out quotes and commas.
PART_BYTES = 32 * 1024
PART_ITEMS = 200

M = TypeVar("M", bound=Message)


async def snapshot(
    broker: Broker, hub: str, hub_process: str, leases: Sequence[Lease], pools: Sequence[Pool]
) -> None:
    """Everything that a hub process needs after it connects. Raises `Unavailable`."""
    parts = list(_parts([known_lease(each) for each in leases] + [known_pool(p) for p in pools]))
    id = uuid4().hex
    for number, items in enumerate(parts, start=1):
        body = HubSnapshot(
            hub=hub,
            snapshot=id,
            part=number,
            parts=len(parts),
            leases=tuple(each for each in items if isinstance(each, KnownLease)),
            pools=tuple(each for each in items if isinstance(each, KnownPool)),
        )
        await send(broker, [Sending(body=body, route=routes.hub(hub_process))])


async def shelves(
    broker: Broker, hub: str, hub_process: str, offer: Shelves, paces: Mapping[str, float | None]
) -> None:
    """All pools as they are now. `paces`: notebooks becoming ready per second. `Unavailable`."""
    known = [_shelf(each, paces.get(each.pool.name)) for each in offer.shelves]
    parts = list(_parts(known))
    id = uuid4().hex
    for number, items in enumerate(parts, start=1):
        body = HubPools(
            hub=hub,
            snapshot=id,
            part=number,
            parts=len(parts),
            pools=tuple(items),
            max_per_user=offer.limits.max_per_user,
            max_per_group=offer.limits.max_per_group,
            held=dict(offer.of_groups),
        )
        await send(broker, [Sending(body=body, route=routes.hub(hub_process))])


def _shelf(shelf: Shelf, pace: float | None) -> KnownPool:
    now = {"outlook": expect(shelf, pace), "held": dict(shelf.of_groups)}
    return known_pool(shelf.pool).model_copy(update=now)


async def places(broker: Broker, hub_process: str, told: Iterable[LinePlaces]) -> None:
    """Tell one hub process where its people stand. Raises `Unavailable`."""
    route = routes.hub(hub_process)
    await send(broker, [Sending(body=body, route=route) for body in told])


def known_lease(lease: Lease) -> KnownLease:
    """What a hub may know of its own lease."""
    return KnownLease(
        lease=lease.lease,
        user=lease.user,
        server=lease.server,
        phase=lease.phase.value,
        pool=lease.pool,
        url=lease.url,
        home=lease.home,
    )


def known_pool(pool: Pool) -> KnownPool:
    """What a hub may know of a pool."""
    container = pool.spec.container
    return KnownPool(
        pool=pool.name,
        display_name=pool.spec.display_name,
        description=pool.spec.description,
        groups=pool.spec.groups,
        image=container.image,
        memory_mib=container.resources.memory_mib,
        cpus=container.resources.cpus,
        run_as=container.run_as,
        home=container.storage.target if container.storage else "",
        paused=pool.spec.paused,
        max_per_user=pool.spec.max_per_user,
        max_per_group=pool.spec.max_per_group,
    )


def _parts(items: Iterable[M]) -> Iterable[list[M]]:
    """At least one part, each short enough for one message."""
    part: list[M] = []
    size = 0
    for item in items:
        length = len(item.model_dump_json(ensure_ascii=True))
        if part and (size + length > PART_BYTES or len(part) == PART_ITEMS):
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    yield part
