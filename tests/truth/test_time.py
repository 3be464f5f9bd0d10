"""What time and nodes do to leases, and the line that is matched."""

from __future__ import annotations

import asyncio

from controlplane.clients.postgres import Postgres
from controlplane.messages import NodeHeartbeat
from controlplane.model.phases import EndReason, LeasePhase, NodeState, NotebookPhase
from tests.truth import stage
from tests.truth.conftest import Owner


async def test_past_its_deadline_a_waiting_or_claimed_lease_expires(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres)
    waiting = await postgres.leases.request(stage.ask("bob"))
    patient = await postgres.leases.request(stage.ask("eve"))
    owner.age(granted.lease.lease, 601)
    owner.age(waiting.lease.lease, 601)

    expired = await postgres.leases.expire()

    assert {e.lease.lease for e in expired} == {granted.lease.lease, waiting.lease.lease}
    assert {e.lease.reason for e in expired} == {EndReason.EXPIRED}
    assert await stage.phase_of(postgres, granted.lease.notebook) is NotebookPhase.RETIRING
    assert [row.lease for row in await postgres.leases.list()] == [patient.lease.lease]


async def test_a_serving_lease_never_expires(postgres: Postgres, owner: Owner) -> None:
    granted = await stage.claimed(postgres)
    await postgres.leases.serve(stage.activated(granted))
    owner.age(granted.lease.lease, 10_000)

    assert await postgres.leases.expire() == []


async def test_nobody_is_matched_past_the_deadline(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    late = await postgres.leases.request(stage.ask("ada"))
    await stage.warm(postgres)
    owner.age(late.lease.lease, 601)

    assert await postgres.leases.match("demo") == []


async def test_match_serves_heads_of_the_line_up_to_its_limit(postgres: Postgres) -> None:
    await stage.house(postgres)
    waiting = [await postgres.leases.request(stage.ask(f"user{n}")) for n in range(4)]
    for _ in range(4):
        await stage.warm(postgres)

    matched = await postgres.leases.match("demo", limit=3)

    assert [m.lease.lease for m in matched] == [w.lease.lease for w in waiting[:3]]


async def test_matches_at_the_same_time_give_each_notebook_once(postgres: Postgres) -> None:
    await stage.house(postgres)
    for n in range(6):
        await postgres.leases.request(stage.ask(f"user{n}"))
    for _ in range(6):
        await stage.warm(postgres)

    matched = await asyncio.gather(*(postgres.leases.match("demo", limit=4) for _ in range(4)))

    given = [m.lease.notebook for each in matched for m in each]
    assert len(given) == len(set(given)) == 6
    assert await postgres.violations() == []


async def cut_off(postgres: Postgres, hub: str, node: str) -> None:
    """Notebooks of this node do not reach the hub."""
    await postgres.nodes.heartbeat(NodeHeartbeat(**stage.at(node), unreachable_hubs=(hub,)))


async def test_a_crowd_whose_hub_no_node_reaches_keeps_nobody_else_waiting(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    await cut_off(postgres, "hub2", "node1")
    for n in range(3):
        await postgres.leases.request(stage.ask(f"user{n}", hub="hub2"))
    await postgres.leases.request(stage.ask("ada"))
    await stage.warm(postgres)

    matched = await postgres.leases.match("demo", limit=2)

    assert [m.lease.user for m in matched] == ["ada"]


async def test_an_attempt_goes_on_where_no_other_node_reaches_its_hub(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres, spare=2)
    await stage.node(postgres, "node2")
    await stage.warm(postgres, "node2")
    await cut_off(postgres, "hub1", "node2")
    owner.age(granted.lease.lease, 400)

    assert await postgres.leases.unaccepted(300) == []


async def test_an_attempt_without_an_answer_is_followed_by_the_next(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres)
    await stage.node(postgres, "node2")
    elsewhere = await stage.warm(postgres, "node2")
    assert await postgres.leases.unaccepted(300) == []
    owner.age(granted.lease.lease, 301)

    [moved] = await postgres.leases.unaccepted(300)

    assert (moved.lease.attempt, moved.lease.phase) == (2, LeasePhase.CLAIMED)
    assert moved.lease.notebook == elsewhere


async def test_a_silent_agent_of_the_only_node_uses_up_neither_attempts_nor_notebooks(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres, spare=2)
    owner.age(granted.lease.lease, 400)

    assert await postgres.leases.unaccepted(300) == []


async def test_an_accepted_attempt_may_take_its_time(postgres: Postgres, owner: Owner) -> None:
    granted = await stage.claimed(postgres)
    await stage.node(postgres, "node2")
    await stage.warm(postgres, "node2")
    await postgres.leases.accepted([stage.accepted(granted)])
    owner.age(granted.lease.lease, 400)

    assert await postgres.leases.unaccepted(300) == []


async def test_on_a_suspect_node_even_an_accepted_attempt_is_over(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)
    await stage.node(postgres, "node2")
    elsewhere = await stage.warm(postgres, "node2")
    await postgres.leases.accepted([stage.accepted(granted)])
    await postgres.nodes.move("node1", NodeState.SUSPECT, "silent", 1)

    [moved] = await postgres.leases.unaccepted(300)

    assert moved.lease.notebook == elsewhere


async def test_a_serving_lease_stays_on_a_suspect_node_and_ends_with_a_lost_one(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres)
    served = await postgres.leases.serve(stage.activated(granted))
    await postgres.nodes.move("node1", NodeState.SUSPECT, "silent", 1)

    untouched = await postgres.leases.unaccepted(300)
    await stage.lost(postgres)
    [ended] = await postgres.leases.node_lost("node1")

    assert served is not None
    assert untouched == []
    assert ended.lease.reason is EndReason.NODE_LOST
    assert await stage.phase_of(postgres, granted.lease.notebook) is NotebookPhase.LOST
