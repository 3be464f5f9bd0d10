"""What a hub's rows imply: its snapshot in parts that fit, and places in the lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import uuid4

from controlplane.apply.sending import Sending, send
from controlplane.clients import rabbitmq as routes
from controlplane.clients.rabbitmq import Broker
from controlplane.messages import HubSnapshot, KnownLease, KnownPool, LinePlaces
from controlplane.model.rows import Lease, Pool

# Half of what an envelope may hold: the estimate below leaves out quotes and commas.
PART_BYTES = 32 * 1024
PART_ITEMS = 200


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
        url=lease.url,
    )


def known_pool(pool: Pool) -> KnownPool:
    """What a hub may know of a pool."""
    container = pool.spec.container
    return KnownPool(
        pool=pool.name,
        description=pool.spec.description,
        groups=pool.spec.groups,
        image=container.image,
        memory_mib=container.resources.memory_mib,
        cpus=container.resources.cpus,
        run_as=container.run_as,
        home=container.storage.target if container.storage else "",
    )


def _parts(items: list[KnownLease | KnownPool]) -> Iterable[list[KnownLease | KnownPool]]:
    """At least one part, each short enough for one message."""
    part: list[KnownLease | KnownPool] = []
    size = 0
    for item in items:
        length = len(item.model_dump_json(ensure_ascii=True))
        if part and (size + length > PART_BYTES or len(part) == PART_ITEMS):
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    yield part
