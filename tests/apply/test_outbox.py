"""Committed events become messages; what the broker did not confirm stays."""

from __future__ import annotations

from typing import Any, cast

from controlplane.apply import outbox
from controlplane.apply.outbox import Outbox, publish_events
from controlplane.errors import BadMessage, Unavailable
from controlplane.messages import Moved


def moved(n: int, **fields: Any) -> Moved:
    about = {"day": "2026-11-23", "seq": n, "entity": "lease", "key": f"l{n}", "version": 1}
    return Moved(**about | {"phase": "claimed", "pool": "demo"} | fields)


class FakeTable:
    """The outbox table: what one took, nobody gets again in this test."""

    def __init__(self, lines: list[Moved]) -> None:
        self.lines = dict(enumerate(lines))
        self.taken: set[int] = set()
        self.takes = 0

    async def take(self, limit: int) -> list[tuple[int, Moved]]:
        self.takes += 1
        free = [(id, line) for id, line in self.lines.items() if id not in self.taken][:limit]
        self.taken |= {id for id, _ in free}
        return free

    async def done(self, ids: list[int]) -> None:
        for id in ids:
            del self.lines[id]


class FakePostgres:
    def __init__(self, *lines: Moved) -> None:
        self.outbox = FakeTable(list(lines))


class FakeBroker:
    """Refuses some events: by their key, with these errors."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.sent: list[Moved] = []
        self.keys: list[str] = []

    async def publish(self, body: Moved, route: Any, **_: object) -> None:
        error = self.errors.get(body.key)
        if isinstance(error, BadMessage) and not body.change:
            error = None
        if error is not None:
            raise error
        self.sent.append(body)
        self.keys.append(route.key)


async def publish(postgres: FakePostgres, broker: FakeBroker) -> int:
    return await publish_events(cast(Any, postgres), cast(Any, broker))


async def test_what_was_committed_is_published_and_leaves_the_outbox() -> None:
    postgres, broker = FakePostgres(moved(1), moved(2, pool="", node="n1")), FakeBroker()

    published = await publish(postgres, broker)

    assert (published, postgres.outbox.lines) == (2, {})
    assert broker.keys == ["event.lease.claimed.demo", "event.lease.claimed.n1"]


async def test_hints_that_say_the_same_are_said_once_for_each_pool() -> None:
    about = {"entity": "notebook", "phase": "leased"}
    postgres = FakePostgres(
        moved(1, **about),
        moved(2, **about),
        moved(3, **about, pool="gpu"),
        moved(4, **about | {"phase": "gone"}),
        moved(5, phase="waiting"),
        moved(6, phase="waiting"),
    )
    broker = FakeBroker()

    await publish(postgres, broker)

    assert [line.key for line in broker.sent] == ["l2", "l3", "l4", "l6"]
    assert postgres.outbox.lines == {}


async def test_every_notebook_that_became_ready_is_named() -> None:
    ready = {"entity": "notebook", "phase": "ready"}
    postgres, broker = FakePostgres(moved(1, **ready), moved(2, **ready)), FakeBroker()

    await publish(postgres, broker)

    assert [line.key for line in broker.sent] == ["l1", "l2"]


async def test_a_hint_that_was_not_confirmed_keeps_all_that_it_speaks_for() -> None:
    about = {"entity": "notebook", "phase": "leased"}
    postgres = FakePostgres(moved(1, **about), moved(2, **about), moved(3))

    await publish(postgres, FakeBroker(l2=Unavailable("away")))

    assert [line.key for line in postgres.outbox.lines.values()] == ["l1", "l2"]


async def test_what_the_broker_did_not_confirm_stays_and_the_rest_leaves() -> None:
    postgres = FakePostgres(moved(1), moved(2), moved(3))

    await publish(postgres, FakeBroker(l2=Unavailable("away")))

    assert [line.key for line in postgres.outbox.lines.values()] == ["l2"]


async def test_an_event_that_is_too_long_goes_without_its_change() -> None:
    postgres, broker = FakePostgres(moved(1, change={"a": "x"})), FakeBroker(l1=BadMessage("long"))

    await publish(postgres, broker)

    assert ([line.change for line in broker.sent], postgres.outbox.lines) == ([{}], {})


async def test_more_than_one_batch_goes_out_at_once() -> None:
    postgres = FakePostgres(*(moved(n) for n in range(outbox.BATCH * 2 + 1)))

    published = await publish(postgres, FakeBroker())

    assert (published, postgres.outbox.lines) == (outbox.BATCH * 2 + 1, {})


async def test_an_empty_outbox_costs_one_look() -> None:
    postgres = FakePostgres()

    published = await publish(postgres, FakeBroker())

    assert (published, postgres.outbox.takes) == (0, 1)


async def test_the_sweep_publishes_without_being_woken_and_when_woken() -> None:
    postgres, broker = FakePostgres(moved(1)), FakeBroker()
    sweeper = Outbox(cast(Any, postgres), cast(Any, broker))

    await sweeper.sweep()
    postgres.outbox.lines[9] = moved(9)
    sweeper.wake()
    await sweeper.sweep()

    assert [line.key for line in broker.sent] == ["l1", "l9"]
