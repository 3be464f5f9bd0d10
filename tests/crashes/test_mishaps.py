"""Messages that come twice, never or in the wrong order, and services that go away for a while.

GREENROOM_TEST_AWAY_SECONDS: how long they stay away; a few seconds unless it is told.
"""

from __future__ import annotations

import asyncio
import os

import psycopg
import pytest
import redis

from controlplane.messages import (
    LeaseEnded,
    LeaseRequest,
    LeaseServing,
    LineQuestion,
)
from controlplane.model import NodeState
from tests.crashes import verdict
from tests.crashes.lanes import two_workers
from tests.crashes.stage import NODE, WORKERS, Stage
from tests.working.fault_proxy import FaultProxy

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

AWAY_SECONDS = float(os.environ.get("GREENROOM_TEST_AWAY_SECONDS", "4"))
WAITED = "select key from events where entity = 'lease' and phase = 'waiting' and pool = %s"
CONTROL = tuple(name for name in WORKERS if name != "agent")


async def all_well(stage: Stage, pool: str, asked: list[LeaseRequest]) -> None:
    await verdict.judge(stage, pool, asked)
    await verdict.leaves(stage, pool, asked)


async def test_a_cancel_before_its_request_wins_and_uses_nothing_up(stage: Stage) -> None:
    pool = await stage.pool()
    cancelled, other = stage.request(pool), stage.request(pool)
    cancel = stage.release_of(cancelled).model_copy(update={"reason": "cancelled"})

    await stage.hub.asks(cancel)
    # Behind it in the same queue, but several are handled at once: wait for the row.
    await stage.until(lambda: tombstone(stage, cancelled), "the cancel is written down")
    await stage.hub.asks(cancelled)
    await stage.hub.asks(other)
    ended = await stage.hub.hears(LeaseEnded, cancelled.lease)

    assert ended.reason == "cancelled"
    await all_well(stage, pool, [other])


async def test_a_request_that_comes_many_times_has_one_effect(stage: Stage) -> None:
    pool = await stage.pool()
    asked = stage.request(pool)

    await asyncio.gather(*(stage.hub.asks(asked) for _ in range(6)))
    await stage.served(asked)
    await stage.suspect(asked)
    await stage.hub.asks(asked)
    other = await stage.asks(pool)

    await all_well(stage, pool, [asked, other])


async def test_an_answer_that_nobody_heard_comes_again_when_it_is_asked_for(stage: Stage) -> None:
    pool = await stage.pool()
    asked = stage.request(pool).model_copy(update={"hub_process": "nobody"})
    await stage.hub.asks(asked)
    await stage.until(lambda: serves(stage, asked), "it serves")
    heard_before = [m for m in stage.hub.all(LeaseServing) if m.lease == asked.lease]

    await stage.hub.asks(LineQuestion(lease=asked.lease, hub="hub1", hub_process="hub1-a"))

    assert heard_before == []
    await all_well(stage, pool, [asked])


async def test_a_newcomer_never_overtakes_who_waits_while_notebooks_become_ready(
    stage: Stage,
) -> None:
    """Two places, many people: each leaves as soon as they are served, and others come then."""
    pool = await stage.pool(warm=0, maximum=2)
    asked: list[LeaseRequest] = []

    async def person() -> None:
        asked.append(await stage.asks(pool))
        mine = asked[-1]
        await stage.served(mine)
        newcomer = asyncio.create_task(person()) if len(asked) < 12 else None
        await stage.hub.asks(stage.release_of(mine))
        if newcomer is not None:
            await newcomer

    await asyncio.gather(*(person() for _ in range(4)))

    assert len(asked) >= 12
    order = await claims_in_order(stage, pool)
    assert order == sorted(order)
    assert len(order) == len(asked)
    await verdict.empty(stage, pool)


async def test_a_redis_that_hangs_costs_nobody_a_notebook(stage: Stage) -> None:
    pool = await stage.pool(warm=6)
    road = FaultProxy(stage.environment()["GREENROOM_REDIS_URL"])
    async with stage.over(road, "GREENROOM_REDIS_URL", "lease"):
        before = await stage.asks(pool)
        await stage.served(before)
        road.hold()
        during = [await stage.asks(pool) for _ in range(3)]
        for each in during:
            await stage.served(each)
        road.release()
        after = await stage.asks(pool)
        await stage.served(after)
        await verdict.judge(stage, pool, [before, *during, after])
    await all_well(stage, pool, [before, *during, after])


async def test_forty_people_find_forty_notebooks_right_after_redis_lost_everything(
    stage: Stage, redis_database: str
) -> None:
    """And nobody rebuilds it meanwhile: nobody waits in line all the same."""
    pool = await stage.pool(warm=40, maximum=60)
    async with stage.without("lease", "refill"), two_workers(stage) as index:
        ready = [n.notebook for n in await stage.postgres.notebooks.list(pool=pool)]
        assert await index.audit({pool: ready})
        with redis.Redis.from_url(redis_database, socket_timeout=60) as mine:
            mine.flushdb()
        assert await index.size(pool) in (0, None)
        asked = [await stage.asks(pool) for _ in range(40)]
        for each in asked:
            await stage.served(each)
        waited = await rows(stage, WAITED, pool)
    assert waited == []
    await all_well(stage, pool, asked)


async def test_nothing_is_lost_or_put_aside_while_postgres_is_away(stage: Stage) -> None:
    """Nor while an agent starts again meanwhile."""
    pool = await stage.pool(warm=6)
    road = FaultProxy(stage.environment()["GREENROOM_POSTGRES_URL"])
    async with stage.over(road, "GREENROOM_POSTGRES_URL", *CONTROL):
        before = await stage.asks(pool)
        await stage.served(before)
        road.down()
        during = [await stage.asks(pool) for _ in range(4)]
        await stage.kill("agent")
        await stage.start("agent")
        await asyncio.sleep(AWAY_SECONDS)
        road.up()
        for each in during:
            await stage.served(each)
        await verdict.judge(stage, pool, [before, *during])
    await all_well(stage, pool, [before, *during])


async def test_nothing_is_lost_while_the_broker_is_away(stage: Stage) -> None:
    """Connections are cut in the middle of a burst, and refused for a while."""
    pool = await stage.pool(warm=6)
    road = FaultProxy(stage.amqp_url)
    async with stage.over(road, "GREENROOM_AMQP_URL", *WORKERS):
        before = await stage.asks(pool)
        await stage.served(before)
        during = [await stage.asks(pool) for _ in range(4)]
        road.down()
        await asyncio.sleep(AWAY_SECONDS)
        road.up()
        for each in during:
            await stage.served(each)
        await verdict.judge(stage, pool, [before, *during])
    await all_well(stage, pool, [before, *during])


async def test_an_agent_cut_off_after_it_accepted_serves_when_it_is_back(stage: Stage) -> None:
    """The same notebook, the same attempt: slowness after `accepted` ends nothing."""
    pool = await stage.pool()
    road = FaultProxy(stage.amqp_url)
    async with stage.over(road, "GREENROOM_AMQP_URL", "agent"):
        stage.waits.touch()
        asked = await stage.asks(pool)
        await stage.until(lambda: accepted(stage, asked), "the agent accepted")
        road.down()
        stage.waits.unlink()
        road.up()
        served = await stage.served(asked)
        orders = await claimed(stage, asked)
        await verdict.judge(stage, pool, [asked])
    assert orders == [(served.notebook, 1)]
    await all_well(stage, pool, [asked])


async def test_an_agent_cut_off_before_it_accepted_hears_nothing_old(stage: Stage) -> None:
    """Its node is suspect after a while: the attempt is over, its notebook is not given again."""
    pool = await stage.pool()
    road = FaultProxy(stage.amqp_url)
    async with stage.over(road, "GREENROOM_AMQP_URL", "agent"):
        first = await stage.asks(pool)
        await stage.served(first)
        road.down()
        asked = await stage.asks(pool)
        # Sooner, and nothing of a suspect node would be given at all.
        await stage.until(lambda: has_a_notebook(stage, asked), "it has a notebook")
        # As liveness does where other nodes are heard: of a single one it takes itself for blind.
        (node,) = await stage.postgres.nodes.list()
        await stage.postgres.nodes.move(NODE, NodeState.SUSPECT, "silent", node.version)
        await stage.until(lambda: again(stage, asked), "its attempt is over")
        road.up()
        served = await stage.served(asked)
        await stage.until_node_is_ready()
        orders = await claimed(stage, asked)
    assert orders[-1][0] == served.notebook
    assert len({notebook for notebook, _ in orders}) == len(orders)
    # What the old order made of the first notebook is gone: nobody but these two has one.
    await stage.until(lambda: nothing_retires(stage, pool), "what nobody uses is gone")
    await verdict.judge(stage, pool, [first, asked], attempts=2)
    await verdict.leaves(stage, pool, [first, asked])


async def serves(stage: Stage, asked: LeaseRequest) -> bool:
    found = await stage.postgres.leases.get(asked.lease)
    return found is not None and found.lease.url is not None


async def has_a_notebook(stage: Stage, asked: LeaseRequest) -> bool:
    found = await stage.postgres.leases.get(asked.lease)
    return found is not None and found.notebook is not None


async def again(stage: Stage, asked: LeaseRequest) -> bool:
    found = await stage.postgres.leases.get(asked.lease)
    return found is not None and found.lease.attempt > 1


async def nothing_retires(stage: Stage, pool: str) -> bool:
    return not (await stage.counts(pool)).get("retiring")


async def tombstone(stage: Stage, asked: LeaseRequest) -> bool:
    return bool(await rows(stage, "select from tombstones where lease = %s", asked.lease))


async def accepted(stage: Stage, asked: LeaseRequest) -> bool:
    told = """
        select from orders join leases using (notebook)
        where lease = %s and accepted_at is not null
    """
    return bool(await rows(stage, told, asked.lease))


async def claimed(stage: Stage, asked: LeaseRequest) -> list[tuple[str, int]]:
    """The notebooks that this lease was given, with the attempt."""
    given = """
        select key, (change ->> 'attempt')::integer from events
        where entity = 'notebook' and change ->> 'lease' = %s order by seq
    """
    return [(str(key), int(attempt)) for key, attempt in await rows(stage, given, asked.lease)]


async def claims_in_order(stage: Stage, pool: str) -> list[int]:
    """Places in line, in the order in which they were given a notebook."""
    given = """
        select l.place from events e join leases l on l.lease::text = e.key
        where e.entity = 'lease' and e.phase = 'claimed' and l.pool = %s
          and e.change ->> 'phase' = 'claimed' order by e.seq
    """
    return [int(place) for (place,) in await rows(stage, given, pool)]


async def rows(stage: Stage, statement: str, *values: str) -> list[tuple[object, ...]]:
    url = stage.environment()["GREENROOM_POSTGRES_URL"]
    async with await psycopg.AsyncConnection.connect(url, connect_timeout=60) as connection:
        cursor = await connection.execute(statement, values)  # type: ignore[arg-type]  # test SQL
        return await cursor.fetchall()
