"""The refill worker on real Postgres and RabbitMQ."""

from __future__ import annotations

from uuid import uuid4

from controlplane.apply.notebooks import NotebookEffects
from controlplane.apply.outbox import Outbox
from controlplane.decide.refill import plan
from controlplane.messages import LeaseRequest
from tests.refill.conftest import Stage, lab
from workers.refill.planner import Planner


def asked(pool: str = "lab") -> LeaseRequest:
    return LeaseRequest(
        lease=str(uuid4()),
        hub="hub1",
        hub_process="hub1-1",
        user="ann",
        server="",
        prefix="/user/ann/",
        pool=pool,
        budget_ms=600_000,
        sealed="sealed",
    )


async def test_an_empty_pool_is_filled_to_its_target(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.apply(lab(warm=3))

    await stage.refill()
    await stage.until_counted(ready=3)

    assert len(agent.creates) == 3
    assert {c.budget_ms for c in agent.creates} == {120_000}
    assert {c.epoch for c in agent.creates} == {agent.epoch}


async def test_a_pool_at_its_target_is_left_alone(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.apply(lab(warm=2))
    await stage.refill()
    await stage.until_counted(ready=2)

    snapshot = await stage.postgres.pools.snapshot("lab")
    made = plan(snapshot, snapshot.taken_at)

    assert (made.create, made.retire) == ((), ())
    assert len(agent.creates) == 2


async def test_three_copies_together_order_no_more_than_one_would(stage: Stage) -> None:
    agent = await stage.agent()
    for _ in range(3):
        await stage.refill()
    await stage.apply(lab(warm=20))

    await stage.until_counted(ready=20)

    assert len({c.notebook for c in agent.creates}) == 20
    assert agent.retired == []


async def test_what_somebody_takes_is_replaced(stage: Stage) -> None:
    await stage.agent()
    await stage.apply(lab(warm=2))
    await stage.refill()
    await stage.until_counted(ready=2)

    granted = await stage.postgres.leases.request(asked(), None)

    assert granted.notebook is not None
    await stage.until_counted(ready=2, leased=1)


async def test_people_in_line_get_notebooks_beyond_the_target(stage: Stage) -> None:
    await stage.agent()
    await stage.apply(lab(warm=0))
    await stage.postgres.leases.request(asked(), None)

    await stage.refill()

    await stage.until_counted(ready=1)


async def test_two_nodes_share_the_pool(stage: Stage) -> None:
    agents = [await stage.agent("a"), await stage.agent("b")]
    await stage.apply(lab(warm=4))

    await stage.refill()
    await stage.until_counted(ready=4)

    assert [len(agent.creates) for agent in agents] == [2, 2]


async def test_what_a_lowered_target_leaves_over_goes(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.apply(lab(warm=4))
    await stage.refill()
    await stage.until_counted(ready=4)

    await stage.apply(lab(warm=1))

    await agent.heard(retired=3)
    await stage.until_counted(ready=1)


async def test_a_removed_pool_is_emptied(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.apply(lab(warm=2))
    await stage.refill()
    await stage.until_counted(ready=2)

    await stage.apply(remove_missing=True)

    await agent.heard(retired=2)
    await stage.until_counted()


async def test_a_new_revision_is_warmed_beside_the_old_one(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.apply(lab(warm=2))
    await stage.refill()
    await stage.until_counted(ready=2)

    await stage.apply(lab(warm=2, image="lab:2"))
    await stage.until_counted(ready=4)

    assert {c.revision for c in agent.creates} == {1, 2}
    assert agent.retired == []


async def test_failing_warm_ups_are_sent_away_and_tried_one_at_a_time(stage: Stage) -> None:
    agent = await stage.agent()
    agent.script = "fails"
    await stage.apply(lab(warm=1))
    await stage.refill()

    await agent.heard(creates=3, retired=2)

    (failure,) = (await stage.postgres.pools.snapshot("lab")).failures
    assert failure.count >= 2
    assert failure.reason == "exited: it ended by itself"
    agent.script = "warms"
    await stage.until_counted(ready=1)


async def test_a_lost_report_is_healed_by_the_inventory(stage: Stage) -> None:
    agent = await stage.agent()
    agent.script = "is_silent"
    await stage.apply(lab(warm=2))
    await stage.refill()
    await agent.heard(creates=2)

    await agent.inventory({c.notebook: "ready" for c in agent.creates})

    await stage.until_counted(ready=2)


async def test_a_notebook_that_no_row_knows_is_retired(stage: Stage) -> None:
    agent = await stage.agent()
    await stage.apply(lab(warm=0))
    await stage.refill()
    stranger, at_work = str(uuid4()), str(uuid4())

    await agent.inventory({at_work: "serving", stranger: "ready"})
    await agent.heard(retired=1)

    assert agent.retired == [stranger]


async def test_a_second_copy_with_an_older_snapshot_creates_nothing(stage: Stage) -> None:
    """Both look, then both act: the create counter lets one of them through."""
    await stage.agent()
    await stage.apply(lab(warm=3))
    tools = await stage.tools("refill")
    effects = NotebookEffects(tools.postgres, tools.broker, Outbox(tools.postgres, tools.broker))
    snapshot = await stage.postgres.pools.snapshot("lab")
    made = plan(snapshot, snapshot.taken_at)
    await effects.apply(made, snapshot, new_id=lambda: str(uuid4()))

    planner = Planner(tools.postgres, effects)
    await planner.look("lab")

    assert sum((await stage.counts()).values()) == 3
