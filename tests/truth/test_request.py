"""What one request becomes."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.clients.postgres import Postgres
from controlplane.errors import Refused
from controlplane.messages import NodeHeartbeat
from controlplane.model.phases import EndReason, LeasePhase, NodeState, NotebookPhase
from tests.truth import stage
from tests.truth.conftest import Owner


async def test_a_request_takes_the_candidate_that_is_ready(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    candidate = await stage.warm(postgres)
    asked = stage.ask()

    granted = await postgres.leases.request(asked, candidate, traceparent="00-1-2-01")

    assert granted.lease.phase is LeasePhase.CLAIMED
    assert granted.lease.notebook == candidate
    assert granted.lease.sealed == asked.sealed
    assert granted.lease.traceparent == "00-1-2-01"
    assert granted.lease.attempt == 1
    assert not granted.lease.cold
    assert granted.notebook is not None
    assert granted.notebook.phase is NotebookPhase.LEASED
    assert granted.notebook.lease == asked.lease
    assert granted.epoch == 1
    assert (granted.lease.deadline - granted.now).total_seconds() == 600


async def test_a_candidate_that_is_taken_is_no_reason_to_wait(postgres: Postgres) -> None:
    await stage.house(postgres)
    first, second = await stage.warm(postgres), await stage.warm(postgres)
    await postgres.leases.request(stage.ask("ada"), first)

    granted = await postgres.leases.request(stage.ask("bob"), first)

    assert granted.lease.notebook == second


async def test_without_a_candidate_postgres_finds_one(postgres: Postgres) -> None:
    await stage.house(postgres)
    only = await stage.warm(postgres)

    granted = await postgres.leases.request(stage.ask())

    assert granted.lease.notebook == only


async def test_an_unknown_candidate_is_only_a_hint(postgres: Postgres) -> None:
    await stage.house(postgres)
    only = await stage.warm(postgres)

    granted = await postgres.leases.request(stage.ask(), stage.new_id())

    assert granted.lease.notebook == only


async def test_what_the_newest_specification_makes_comes_first(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await postgres.pools.apply([stage.spec(image="demo:2")], remove_missing=False)
    newest = await stage.warm(postgres)

    granted = await postgres.leases.request(stage.ask())

    assert granted.lease.notebook == newest


async def test_after_a_rollback_the_old_notebooks_come_first_again(postgres: Postgres) -> None:
    await stage.house(postgres)
    old = await stage.warm(postgres)
    await postgres.pools.apply([stage.spec(image="demo:2")], remove_missing=False)
    await stage.warm(postgres)
    await postgres.pools.apply([stage.spec()], remove_missing=False)

    granted = await postgres.leases.request(stage.ask())

    assert granted.lease.notebook == old


async def test_the_node_with_most_ready_notebooks_gives_first(postgres: Postgres) -> None:
    await stage.house(postgres, "node1", "node2")
    await stage.warm(postgres, "node1")
    await stage.warm(postgres, "node2")
    await stage.warm(postgres, "node2")

    granted = await postgres.leases.request(stage.ask())

    assert granted.lease.node == "node2"


@pytest.mark.parametrize("state", [s for s in NodeState if s is not NodeState.READY])
async def test_a_node_that_is_not_ready_is_not_offered(
    postgres: Postgres, state: NodeState
) -> None:
    await stage.house(postgres)
    candidate = await stage.warm(postgres)
    await postgres.nodes.move("node1", state, "test", 1)

    granted = await postgres.leases.request(stage.ask(), candidate)

    assert granted.lease.phase is LeasePhase.WAITING


async def test_a_node_that_cannot_reach_a_hub_is_offered_to_others_only(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    candidate = await stage.warm(postgres)
    await postgres.nodes.heartbeat(NodeHeartbeat(**stage.at(), unreachable_hubs=("hub1",)))

    theirs = await postgres.leases.request(stage.ask("ada", hub="hub2"), candidate)
    other = await stage.warm(postgres)
    ours = await postgres.leases.request(stage.ask("ada", hub="hub1"), other)

    assert theirs.lease.phase is LeasePhase.CLAIMED
    assert ours.lease.phase is LeasePhase.WAITING


async def test_a_dry_pool_is_a_line(postgres: Postgres) -> None:
    await stage.house(postgres)

    first = await postgres.leases.request(stage.ask("ada"))
    second = await postgres.leases.request(stage.ask("bob"))

    assert first.lease.phase is second.lease.phase is LeasePhase.WAITING
    assert first.notebook is None
    assert first.lease.place < second.lease.place
    assert await postgres.leases.waiting_pools() == ["demo"]


async def test_the_fast_claim_is_refused_while_anybody_waits(postgres: Postgres) -> None:
    await stage.house(postgres)
    first = await postgres.leases.request(stage.ask("ada"))
    ready = await stage.warm(postgres)

    second = await postgres.leases.request(stage.ask("bob"), ready)
    matched = await postgres.leases.match("demo")

    assert second.lease.phase is LeasePhase.WAITING
    assert [m.lease.lease for m in matched] == [first.lease.lease]
    assert matched[0].lease.notebook == ready
    assert matched[0].lease.cold


async def test_the_same_id_twice_has_one_effect(postgres: Postgres) -> None:
    await stage.house(postgres)
    first, second = await stage.warm(postgres), await stage.warm(postgres)
    asked = stage.ask()
    granted = await postgres.leases.request(asked, first)

    again = await postgres.leases.request(asked, second)

    assert again.lease == granted.lease
    assert again.notebook == granted.notebook


async def test_the_same_id_at_the_same_time_has_one_effect(postgres: Postgres) -> None:
    await stage.house(postgres)
    for _ in range(4):
        await stage.warm(postgres)
    asked = stage.ask()

    granted = await asyncio.gather(*(postgres.leases.request(asked) for _ in range(4)))

    assert len({g.lease.notebook for g in granted}) == 1
    assert (await postgres.notebooks.counts())["demo"] == {"ready": 3, "leased": 1}


async def test_the_same_id_of_somebody_else_is_refused(postgres: Postgres) -> None:
    await stage.house(postgres)
    asked = stage.ask("ada")
    await postgres.leases.request(asked)

    for theirs in ({"user": "eve"}, {"server": "two"}, {"hub": "hub2"}):
        with pytest.raises(Refused, match="belongs to another"):
            await postgres.leases.request(asked.model_copy(update=theirs))


async def test_a_request_again_from_a_new_process_of_its_hub_is_answered_there(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    asked = stage.ask()
    await postgres.leases.request(asked)

    again = await postgres.leases.request(asked.model_copy(update={"hub_process": "hub1-b"}))

    assert again.lease.hub_process == "hub1-b"


async def test_two_claims_of_one_notebook_at_once_have_one_winner(postgres: Postgres) -> None:
    """The second barrier alone: no Redis, and everybody has the same candidate."""
    await stage.house(postgres)
    only = await stage.warm(postgres)

    granted = await asyncio.gather(
        *(postgres.leases.request(stage.ask(f"user{n}"), only) for n in range(8))
    )

    winners = [g for g in granted if g.lease.notebook == only]
    assert len(winners) == 1
    assert sum(g.lease.phase is LeasePhase.WAITING for g in granted) == 7
    assert await postgres.violations() == []


async def test_a_burst_takes_exactly_as_many_notebooks(postgres: Postgres) -> None:
    await stage.house(postgres)
    ready = {await stage.warm(postgres) for _ in range(8)}

    granted = await asyncio.gather(
        *(postgres.leases.request(stage.ask(f"user{n}")) for n in range(8))
    )

    assert {g.lease.notebook for g in granted} == ready
    assert await postgres.violations() == []


@pytest.mark.parametrize(
    ("changes", "asking", "detail"),
    [
        ({}, {"pool": "nothing"}, "there is no pool nothing"),
        ({"paused": True}, {}, "pool demo is paused"),
        ({"groups": ("staff",)}, {"groups": ("students",)}, "pool demo is for other groups"),
        ({"groups": ("staff",)}, {"groups": ()}, "pool demo is for other groups"),
    ],
)
async def test_what_can_never_be_granted_ends_as_refused(
    postgres: Postgres, changes: dict[str, object], asking: dict[str, object], detail: str
) -> None:
    await stage.house(postgres, **changes)
    await stage.warm(postgres)

    granted = await postgres.leases.request(stage.ask(**asking))

    assert granted.lease.phase is LeasePhase.ENDED
    assert granted.lease.reason is EndReason.REFUSED
    assert granted.lease.detail == detail
    assert granted.lease.sealed is None
    assert granted.notebook is None


async def test_a_member_of_one_of_the_groups_may_use_the_pool(postgres: Postgres) -> None:
    await stage.house(postgres, groups=("staff", "it"))
    await stage.warm(postgres)

    granted = await postgres.leases.request(stage.ask(groups=("chess", "it")))

    assert granted.lease.phase is LeasePhase.CLAIMED


async def test_a_removed_pool_is_an_unknown_one(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    await postgres.pools.apply([stage.spec("other")], remove_missing=True)

    granted = await postgres.leases.request(stage.ask())

    assert granted.lease.reason is EndReason.REFUSED


async def test_no_budget_is_expired_at_once(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)

    granted = await postgres.leases.request(stage.ask(budget_ms=0))

    assert granted.lease.reason is EndReason.EXPIRED
    assert (await postgres.notebooks.counts())["demo"] == {"ready": 1}


async def test_a_budget_of_more_than_a_day_is_a_day(postgres: Postgres) -> None:
    await stage.house(postgres)
    asked = stage.ask().model_copy(update={"budget_ms": 10**12})

    granted = await postgres.leases.request(asked)

    assert (granted.lease.deadline - granted.now).total_seconds() == 24 * 3600


async def test_a_newer_lease_supersedes_the_older_one_in_one_move(postgres: Postgres) -> None:
    await stage.house(postgres)
    first, second = await stage.warm(postgres), await stage.warm(postgres)
    old = await postgres.leases.request(stage.ask("ada"), first)

    new = await postgres.leases.request(stage.ask("ada"), second)

    assert [e.lease for e in new.ended] == [old.lease.lease]
    assert new.ended[0].reason is EndReason.SUPERSEDED
    assert [r.notebook for r in new.retired] == [first]
    assert new.retired[0].phase is NotebookPhase.RETIRING
    assert new.lease.notebook == second


async def test_another_server_of_the_same_user_is_not_superseded(postgres: Postgres) -> None:
    await stage.house(postgres)
    await postgres.leases.request(stage.ask("ada"))

    granted = await postgres.leases.request(stage.ask("ada", server="gpu"))

    assert granted.ended == ()
    assert len(await postgres.leases.list()) == 2


async def test_a_request_that_was_overtaken_by_a_newer_one_supersedes_nothing(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    # Two UUIDv7 a second apart; the later one arrives first.
    older = "0193572b-6000-7000-8000-000000000001"
    newer = "0193572b-63e8-7000-8000-000000000001"
    served = await stage.serving(postgres, "ada", lease=newer)

    late = await postgres.leases.request(stage.ask("ada", lease=older))

    assert late.lease.reason is EndReason.SUPERSEDED
    assert late.ended == ()
    still = await postgres.leases.get(newer)
    assert still is not None
    assert still.lease == served.lease


async def test_a_release_may_come_before_its_request(postgres: Postgres, owner: Owner) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    asked = stage.ask()

    released = await postgres.leases.release(asked.lease, asked.hub, EndReason.CANCELLED)
    granted = await postgres.leases.request(asked)

    assert released is None
    assert granted.lease.phase is LeasePhase.ENDED
    assert granted.lease.reason is EndReason.CANCELLED
    assert (await postgres.notebooks.counts())["demo"] == {"ready": 1}


async def test_a_tombstone_of_another_hub_stops_nobody(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    asked = stage.ask()
    await postgres.leases.release(asked.lease, "hub2", EndReason.CANCELLED)

    granted = await postgres.leases.request(asked)

    assert granted.lease.phase is LeasePhase.CLAIMED
