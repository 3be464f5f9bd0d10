"""More people than notebooks: nobody gets two, everybody gets one, in order."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from controlplane.messages import (
    ActivateNotebook,
    LeaseClaimed,
    LeaseEnded,
    LeaseRequest,
    LeaseServing,
    LineQuestion,
    NodeHeartbeat,
)
from controlplane.model import EndReason, LeasePhase
from tests.lease.actors import Agent, Hub, accepted, activated
from tests.lease.conftest import House
from tests.truth import stage as truth
from tests.truth.conftest import Owner
from tests.truth.stage import ask, new_id

pytestmark = pytest.mark.services


def people(count: int) -> list[LeaseRequest]:
    return [ask(f"user{n}") for n in range(count)]


async def all_served(hub: Hub, requests: list[LeaseRequest]) -> dict[str, str]:
    """Notebook by lease."""
    wanted = {request.lease for request in requests}
    await hub.until(lambda: wanted <= {m.lease for m in hub.all(LeaseServing)})
    return {m.lease: m.notebook for m in hub.all(LeaseServing)}


def nobody_shares(hub: Hub, *agents: Agent) -> None:
    of_notebook: dict[str, set[str]] = {}
    for message in (*hub.all(LeaseServing), *hub.all(LeaseClaimed)):
        of_notebook.setdefault(message.notebook, set()).add(message.lease)
    assert [leases for leases in of_notebook.values() if len(leases) > 1] == []
    assert [double for agent in agents for double in agent.doubles] == []


async def test_forty_people_on_twenty_notebooks_wait_in_order(house: House, owner: Owner) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(20)
    await house.worker()
    requests = people(40)

    await asyncio.gather(*(hub.asks(request) for request in requests))
    await hub.until(lambda: len({m.lease for m in hub.all(LeaseServing)}) == 20)
    first = {m.lease for m in hub.all(LeaseServing)}
    waiting = [r.lease for r in requests if r.lease not in first]
    places = {lease: (await hub.place_of(lease))[0] for lease in waiting}
    in_line = sorted(waiting, key=lambda lease: places[lease])
    for _ in range(20):
        await house.warm(1)
    served = await all_served(hub, requests)

    assert sorted(places.values()) == list(range(1, 21))
    assert len(set(served.values())) == 40
    claims = owner.run(
        "select key from events where entity = 'lease' and phase = 'claimed' order by seq"
    )
    assert [lease for (lease,) in claims if lease not in first] == in_line
    assert len({command.notebook for command in agent.all(ActivateNotebook)}) == 40
    nobody_shares(hub, agent)


async def test_two_copies_of_the_worker_give_every_notebook_once(house: House) -> None:
    hub, one, two = await house.hub(), await house.agent("node1"), await house.agent("node2")
    await house.warm(10, "node1")
    await house.warm(10, "node2")
    await house.worker()
    await house.worker()
    requests = people(30)

    await asyncio.gather(*(hub.asks(request) for request in requests))
    await hub.until(lambda: len({m.lease for m in hub.all(LeaseServing)}) == 20)
    await house.warm(10, "node1")
    served = await all_served(hub, requests)

    assert Counter(served.values()).most_common(1)[0][1] == 1
    nobody_shares(hub, one, two)
    assert await house.postgres.violations() == []


async def test_a_copy_that_dies_in_a_burst_loses_nobody(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(12)
    doomed = await house.worker()
    requests = people(12)

    await asyncio.gather(*(hub.asks(request) for request in requests))
    await agent.until(lambda: bool(agent.all(ActivateNotebook)))
    house.copies.remove(doomed)
    await doomed.kill()
    survivor = await house.worker()
    await survivor.takes_suspects()
    await all_served(hub, requests)

    nobody_shares(hub, agent)
    assert await house.postgres.violations() == []


async def test_activations_behind_a_slow_agent_use_no_second_notebook(
    house: House, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, agent = await house.hub(), await house.agent()
    agent.answers = lambda _: "nothing"
    await house.warm(12)
    await house.worker()
    requests = people(6)
    await asyncio.gather(*(hub.asks(request) for request in requests))
    await agent.until(lambda: len({c.lease for c in agent.all(ActivateNotebook)}) == 6)
    commands = {command.lease: command for command in agent.all(ActivateNotebook)}
    await house.postgres.leases.accepted([accepted(c, "node1") for c in commands.values()])
    for request in requests:
        owner.age(request.lease, 30)

    # Somebody of a dry pool hears of a place: a second has passed, and its sweeps.
    monkeypatch.setattr("workers.lease.sweeps.ACCEPT_SECONDS", 3.0)
    await house.postgres.pools.apply([truth.spec("dry")], remove_missing=False)
    for _ in range(2):
        late = ask(f"late-{new_id()}", pool="dry")
        await hub.asks(late)
        await hub.place_of(late.lease)
    for command in commands.values():
        await agent.says(activated(command, "node1"))
    served = await all_served(hub, requests)

    assert served == {lease: command.notebook for lease, command in commands.items()}
    assert agent.retired() == set()


async def test_a_dry_pool_says_why_and_where_one_stands(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    request = ask()

    await hub.asks(request)
    place, told = await hub.place_of(request.lease)

    assert (place, told.pool, told.why) == (1, "demo", "warming")


async def test_at_capacity_is_told_apart(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.postgres.pools.apply([truth.spec(maximum=1)], remove_missing=False)
    await house.warm(1)
    await house.worker()
    first, second = ask("ada"), ask("bob")

    await hub.asks(first)
    await hub.hears(LeaseServing, first.lease)
    await hub.asks(second)
    _, told = await hub.place_of(second.lease)

    assert (told.why, told.detail) == ("at_capacity", "all 1 notebooks are in use")


async def test_without_a_node_nothing_is_coming(house: House) -> None:
    hub = await house.hub()
    await house.worker()
    request = ask()

    await hub.asks(request)
    _, told = await hub.place_of(request.lease)

    assert (told.why, told.detail) == ("nothing_coming", "no node is ready")


async def test_somebody_whose_hub_no_node_reaches_is_told_so_beside_a_warm_notebook(
    house: House,
) -> None:
    cut_off, other = await house.hub("hub2", "hub2-a"), await house.hub()
    await house.agent()
    await house.warm(2)
    unreached = NodeHeartbeat(**truth.at(), unreachable_hubs=("hub2",))
    await house.postgres.nodes.heartbeat(unreached)
    await house.worker()
    theirs, ours = ask("ada", hub="hub2", hub_process="hub2-a"), ask("bob")

    await cut_off.asks(theirs)
    _, told = await cut_off.place_of(theirs.lease)
    await other.asks(ours)
    await other.hears(LeaseServing, ours.lease)
    await house.postgres.nodes.heartbeat(NodeHeartbeat(**truth.at()))
    await cut_off.hears(LeaseServing, theirs.lease)

    assert (told.why, told.detail) == (
        "nothing_coming",
        "no node's notebooks reach this hub's API",
    )


async def test_somebody_who_asks_hears_their_place_again(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    request = ask()
    await hub.asks(request)
    await hub.place_of(request.lease)
    hub.heard.clear()

    await hub.asks(LineQuestion(lease=request.lease, hub="hub1", hub_process="hub1-a"))
    place, _ = await hub.place_of(request.lease)

    assert place == 1


async def test_places_are_told_to_the_hub_process_that_has_the_person(house: House) -> None:
    one, other = await house.hub(), await house.hub("hub2", "hub2-x")
    await house.agent()
    await house.worker()
    mine, theirs = ask(), ask("bob", hub="hub2", hub_process="hub2-x")

    await one.asks(mine)
    await one.place_of(mine.lease)
    await other.asks(theirs)
    place, told = await other.place_of(theirs.lease)

    assert (place, len(told.places)) == (2, 1)


async def test_waiting_ends_at_the_deadline(house: House, owner: Owner) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.worker()
    request = ask()
    await hub.asks(request)
    await hub.place_of(request.lease)

    owner.age(request.lease, 3600)
    ended = await hub.hears(LeaseEnded, request.lease)

    assert ended.reason == EndReason.EXPIRED


async def test_a_request_without_budget_ends_at_once(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request = ask(budget_ms=0)

    await hub.asks(request)
    ended = await hub.hears(LeaseEnded, request.lease)

    assert ended.reason == EndReason.EXPIRED


async def test_a_serving_lease_has_no_deadline(house: House, owner: Owner) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request, late = ask(), ask("bob")
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)
    owner.age(request.lease, 3600)

    await hub.asks(late)
    await hub.place_of(late.lease)
    owner.age(late.lease, 3600)
    await hub.hears(LeaseEnded, late.lease)
    granted = await house.postgres.leases.get(request.lease)

    assert granted is not None
    assert granted.lease.phase is LeasePhase.SERVING
