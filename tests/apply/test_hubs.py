"""A hub's snapshot fits into its messages, however much there is to say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from controlplane.apply import hubs
from controlplane.decide.expect import Shelf, Shelves
from controlplane.decide.lease_snapshot import Line
from controlplane.messages import HubPools, HubSnapshot, encode
from controlplane.messages.envelope import MAX_BYTES
from controlplane.model import ContainerSpec, Lease, LeasePhase, Limits, Pool, PoolSpec, Storage

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def lease(n: int, user: str = "ada") -> Lease:
    return Lease(
        lease=f"00000000-0000-7000-8000-{n:012x}",
        hub="hub1",
        hub_process="hub1-a",
        user=user,
        server="\N{PILE OF POO}" * 255,
        prefix="/user/ada/",
        pool="demo",
        phase=LeasePhase.SERVING,
        version=1,
        attempt=1,
        place=n,
        created_at=NOW,
        phase_at=NOW,
        deadline=NOW,
        url="http://h:1/" + "x" * 2000,
    )


def pool(name: str) -> Pool:
    container = ContainerSpec(image="demo:1", storage=Storage(root="/srv/homes"))
    spec = PoolSpec(name=name, container=container, warm=1)
    return Pool(name=name, revision=1, spec=spec, spec_hash="h", changed_at=NOW)


class FakeBroker:
    def __init__(self) -> None:
        self.sent: list[HubSnapshot] = []

    async def publish(self, body: HubSnapshot, route: object, **_: object) -> None:
        self.sent.append(body)


async def told(leases: list[Lease], pools: list[Pool]) -> list[HubSnapshot]:
    broker = FakeBroker()
    await hubs.snapshot(cast(Any, broker), "hub1", "hub1-a", leases, pools)
    return broker.sent


async def test_nothing_to_say_is_one_part() -> None:
    (part,) = await told([], [])

    assert (part.part, part.parts, part.leases, part.pools) == (1, 1, (), ())


async def test_a_long_snapshot_comes_in_parts_that_fit_and_lose_nothing() -> None:
    leases = [lease(n, user="é" * 255) for n in range(300)]

    parts = await told(leases, [pool("a"), pool("b")])

    assert max(len(encode(p, id="i", source="s", time="t")) for p in parts) < MAX_BYTES
    assert [p.part for p in parts] == list(range(1, len(parts) + 1))
    assert {(p.parts, p.snapshot) for p in parts} == {(len(parts), parts[0].snapshot)}
    assert [k.lease for p in parts for k in p.leases] == [each.lease for each in leases]
    assert [k.pool for p in parts for k in p.pools] == ["a", "b"]


async def test_a_hub_that_asks_hears_who_is_on_the_backup() -> None:
    (part,) = await told([replace(lease(1), home="backup-ro"), lease(2)], [])

    assert [known.home for known in part.leases] == ["backup-ro", ""]


async def test_short_items_are_not_more_than_a_message_lists() -> None:
    parts = await told([], [pool(f"p{n}") for n in range(450)])

    assert max(len(p.pools) for p in parts) <= 200


async def test_a_pool_tells_where_homes_are_inside() -> None:
    (part,) = await told([], [pool("a")])

    assert part.pools[0].home == "/home/jovyan"


def shelf(n: int) -> Shelf:
    """One whose every text is as long as it may be, in characters that take the most bytes."""
    spec = PoolSpec(
        name=f"pool-{n}",
        display_name="\N{PILE OF POO}" * 100,
        description="\N{PILE OF POO}" * 500,
        container=ContainerSpec(image="demo:1"),
        warm=1,
        max_per_group={"g" * 240 + str(each): 30 for each in range(30)},
    )
    kept = Pool(name=spec.name, revision=1, spec=spec, spec_hash="h", changed_at=NOW)
    numbers = {"warming": 0, "held": 0, "leaving": 0, "nodes": 1, "free": 1, "failures": 0}
    line = Line(
        pool=kept.name,
        taken_at=NOW,
        waiting=(),
        ready=1,
        maximum=None,
        paused=False,
        warm_seconds=None,
        **numbers,
    )
    return Shelf(pool=kept, line=line, warm=1, waiting=0, of_groups=dict(spec.max_per_group))


async def test_what_a_form_is_told_fits_into_its_messages_however_much_it_is() -> None:
    broker = FakeBroker()
    limits = Limits(max_per_user=3, max_per_group=shelf(0).of_groups)
    offer = Shelves(
        shelves=tuple(map(shelf, range(20))), limits=limits, of_groups=limits.max_per_group
    )

    await hubs.shelves(cast(Any, broker), "hub1", "hub1-a", offer, {})

    parts = cast(list[HubPools], broker.sent)
    assert len(parts) > 1
    assert all(len(encode(part, id="1", source="s", time="t")) <= MAX_BYTES for part in parts)
    assert [(part.part, part.parts) for part in parts] == [
        (number, len(parts)) for number in range(1, len(parts) + 1)
    ]
    assert [pool.pool for part in parts for pool in part.pools] == [f"pool-{n}" for n in range(20)]
    assert {part.max_per_user for part in parts} == {3}
