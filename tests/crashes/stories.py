"""What happens to a person while one process dies: for each failpoint, the way to get there.

A story prepares, does inside `killed` what makes the process reach the point, and then sees how
it ends for the person with the process that was started in its place.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import aio_pika

from controlplane.messages import HubHello, HubSnapshot, LeaseEnded, LeaseRequest, LineQuestion
from controlplane.model import NodeState
from tests.crashes import hubs, verdict
from tests.crashes.stage import NODE, Stage
from tests.crashes.verdict import Served

Story = Callable[[Stage, str, str], Awaitable[None]]


async def click(stage: Stage, process: str, point: str) -> None:
    """Somebody asks, and is served."""
    pool = await stage.pool()
    async with stage.killed(process, point):
        asked = await stage.asks(pool)
    await verdict.judge(stage, pool, [asked])
    assert await _attempts(stage, asked) == 1
    await verdict.leaves(stage, pool, [asked])


async def slow(stage: Stage, process: str, point: str) -> None:
    """An activation that takes its time: the agent says that it accepted the order."""
    pool = await stage.pool()
    stage.waits.touch()
    async with stage.killed(process, point):
        asked = await stage.asks(pool)
    stage.waits.unlink()
    await verdict.judge(stage, pool, [asked])
    assert await _attempts(stage, asked) == 1
    await verdict.leaves(stage, pool, [asked])


async def release(stage: Stage, process: str, point: str) -> None:
    """Somebody stops: the lease ends, their notebook goes, another person's stays."""
    pool = await stage.pool()
    asked, other = await stage.asks(pool), await stage.asks(pool)
    await stage.served(asked)
    await stage.served(other)
    async with stage.killed(process, point):
        await stage.hub.asks(stage.release_of(asked))
    ended = await stage.hub.hears(LeaseEnded, asked.lease)
    assert ended.reason == "stopped"
    await _nobody_else_s_is_left(stage, pool)
    await verdict.judge(stage, pool, [other])
    await verdict.leaves(stage, pool, [other])


async def line(stage: Stage, process: str, point: str) -> None:
    """The pool is dry: the first in line gets what becomes ready, and the second the next."""
    pool = await stage.pool(warm=0)
    async with stage.killed(process, point):
        asked = [await stage.asks(pool), await stage.asks(pool)]
    await verdict.judge(stage, pool, asked)
    await verdict.leaves(stage, pool, asked)


async def attempt(stage: Stage, process: str, point: str) -> None:
    """The notebook dies of its activation: the person gets another."""
    pool = await stage.pool()
    stage.dies.touch()
    async with stage.killed(process, point):
        asked = await stage.asks(pool)
    await verdict.judge(stage, pool, [asked])
    assert await _attempts(stage, asked) == 2
    await verdict.leaves(stage, pool, [asked])


async def deadline(stage: Stage, process: str, point: str) -> None:
    """Nothing can come before the deadline: the person hears that it is over."""
    pool = await stage.pool(warm=0, maximum=0)
    async with stage.killed(process, point):
        asked = await stage.asks(pool, budget_ms=1000)
    # As spawners do when they have heard nothing.
    await stage.hub.asks(LineQuestion(lease=asked.lease, hub="hub1", hub_process="hub1-a"))
    ended = await stage.hub.hears(LeaseEnded, asked.lease)
    assert ended.reason == "expired"
    await verdict.judge(stage, pool, [])
    await verdict.empty(stage, pool)


async def sweep(stage: Stage, process: str, point: str) -> None:
    """The agent does not answer for a while: the order is repeated until it does."""
    pool = await stage.pool()
    await stage.kill("agent")
    async with stage.killed(process, point):
        asked = await stage.asks(pool)
    await stage.start("agent")
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def hello(stage: Stage, process: str, point: str) -> None:
    """A hub arrives, and is told what it has."""
    greeting = HubHello(hub="hub1", hub_process="hub1-a", api_url="http://192.0.2.1:8081/hub/api")
    stage.hub.heard = [m for m in stage.hub.heard if not isinstance(m, HubSnapshot)]
    async with stage.killed(process, point):
        await stage.hub.asks(greeting)
    assert (await stage.hub.snapshot())[0].hub == "hub1"
    await click_unharmed(stage)


async def event(stage: Stage, process: str, point: str) -> None:
    """A row moved, and only this process is there to say so."""
    others = [name for name in ("lease", "refill", "liveness") if name != process]
    async with stage.without(*others), stage.killed(process, point):
        pool = await stage.pool(ready=False)
    await stage.until_ready(pool, 2)
    asked = await stage.asks(pool)
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def suspected(stage: Stage, process: str, point: str) -> None:
    """A request that was delivered before is read again, alone, and kills its reader."""
    pool = await stage.pool()
    asked = stage.request(pool)
    async with stage.killed(process, point):
        await stage.suspect(asked)
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def redelivered(stage: Stage, process: str, point: str) -> None:
    """A request that somebody had in hand is moved aside, twice."""
    pool = await stage.pool()
    await stage.kill(process)
    asked = await stage.asks(pool)
    await _give_back(stage)
    async with stage.killed(process, point):
        pass
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def create(stage: Stage, process: str, point: str) -> None:
    """A pool is to be warm: each of its notebooks is made once."""
    async with stage.killed(process, point):
        pool = await stage.pool(warm=2, ready=False)
    await stage.until_ready(pool, 2)
    made = [n.phase.value for n in await stage.postgres.notebooks.list(pool=pool)]
    assert made == ["ready", "ready"]
    assert len(await stage.engine.list({"greenroom.pool": pool})) == 2
    asked = await stage.asks(pool)
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def remove(stage: Stage, process: str, point: str) -> None:
    """A pool goes while somebody works: theirs stays, the others leave nothing behind."""
    pool = await stage.pool(warm=1)
    asked = await stage.asks(pool)
    await verdict.judge(stage, pool, [asked])
    await stage.until_ready(pool, 1)
    async with stage.killed(process, point):
        await stage.postgres.pools.apply([], remove_missing=True)
    await _nobody_else_s_is_left(stage, pool, ready=0)
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def agent_starts(stage: Stage, process: str, point: str) -> None:
    """An agent dies of its start, beside a notebook that somebody uses: it stays theirs."""
    pool = await stage.pool()
    first = await stage.asks(pool)
    await stage.served(first)
    async with stage.killed(process, point):
        pass
    second = await stage.asks(pool)
    await verdict.judge(stage, pool, [first, second])
    await verdict.leaves(stage, pool, [first, second])


async def node_greets(stage: Stage, process: str, point: str) -> None:
    """An agent starts and says its epoch: orders reach it with that one."""
    async with stage.killed(process, point):
        await stage.kill("agent")
        await stage.start("agent")
    await click_unharmed(stage)


async def node_moves(stage: Stage, process: str, point: str) -> None:
    """A node is suspect and comes back."""
    async with stage.killed(process, point):
        (node,) = await stage.postgres.nodes.list()
        await stage.postgres.nodes.move(NODE, NodeState.SUSPECT, "test", node.version)
        await stage.kill("agent")
        await stage.start("agent")
    await stage.until_node_is_ready()
    await click_unharmed(stage)


async def hub_starts(stage: Stage, process: str, point: str) -> None:
    """The hub dies while somebody starts: the next one finds the notebook, or they click again."""
    pool = await stage.pool()
    folder = stage.new_folder()
    armed = await stage.start_hub(folder, pool, "start", failpoint=point)
    await stage.dies_at(armed, point)
    await stage.start_hub(folder, pool, "start")
    served = await _outcome(stage, folder, pool)
    assert served is not None
    await verdict.judge(stage, pool, [served])
    await hub_leaves(stage, folder, pool)


async def hub_stops(stage: Stage, process: str, point: str) -> None:
    """The hub dies while somebody stops: they stop again, or find it stopped."""
    pool = await stage.pool()
    folder = stage.new_folder()
    first = await stage.start_hub(folder, pool, "start")
    assert await _outcome(stage, folder, pool) is not None
    await first.kill()
    armed = await stage.start_hub(folder, pool, "stop", failpoint=point)
    await stage.dies_at(armed, point)
    await hub_leaves(stage, folder, pool)


async def hub_leaves(stage: Stage, folder: Path, pool: str) -> None:
    """The person stops their server: nothing of it is left."""
    stops = await stage.start_hub(folder, pool, "stop")
    assert await _outcome(stage, folder, pool) is None
    await stops.kill()
    await verdict.empty(stage, pool)


async def click_unharmed(stage: Stage) -> None:
    """All works as ever."""
    pool = await stage.pool()
    asked = await stage.asks(pool)
    await verdict.judge(stage, pool, [asked])
    await verdict.leaves(stage, pool, [asked])


async def _attempts(stage: Stage, asked: LeaseRequest) -> int:
    found = await stage.postgres.leases.get(asked.lease)
    assert found is not None
    return found.lease.attempt


async def _nobody_else_s_is_left(stage: Stage, pool: str, *, ready: int | None = None) -> None:
    """One notebook is in use and none on its way out; perhaps so many are ready."""

    async def so() -> bool:
        counts = await stage.counts(pool)
        settled = counts.get("leased") == 1 and not counts.get("retiring")
        return settled and ready in (None, counts.get("ready", 0))

    await stage.until(so, f"one notebook of {pool} is in use")


async def _give_back(stage: Stage) -> None:
    """Take the only request and let go of it, as a reader that dies with it in hand."""
    async with await aio_pika.connect(stage.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(f"{stage.installation}.lease.requests")
        message = await queue.get(timeout=60)
        assert message is not None
        await message.reject(requeue=True)


async def _outcome(stage: Stage, folder: Path, pool: str) -> Served | None:
    """What the hub's wish came to; None: nothing runs."""
    file = folder / "outcome.json"

    async def there() -> bool:
        return file.exists()

    await stage.until(there, "the hub's outcome")
    told = json.loads(file.read_text())
    if not told["url"]:
        return None
    mine = [lease for lease in await stage.postgres.leases.list(pool=pool) if lease.hub == hubs.HUB]
    (lease,) = mine
    assert lease.notebook is not None
    assert lease.url is not None
    assert told["url"].startswith(lease.url)
    return Served(lease=lease.lease, user=lease.user, notebook=lease.notebook, url=lease.url)


STORIES: dict[str, Story] = {
    "spawner.request.made": hub_starts,
    "spawner.request.confirmed": hub_starts,
    "lease.request.received": click,
    "lease.request.popped": click,
    "lease.request.committed": click,
    "agent.accept.checked": click,
    "agent.accept.journaled": click,
    "lease.accepted.received": slow,
    "agent.home.mounted": click,
    "agent.handover.given": click,
    "agent.probe.answered": click,
    "agent.served.journaled": click,
    "lease.serve.received": click,
    "lease.serve.committed": click,
    "spawner.serving.heard": hub_starts,
    "spawner.state.told": hub_starts,
    "message.handled[lease.request]": click,
    "message.handled[lease.release]": release,
    "message.handled[report.run.activated]": click,
    "message.handled[notebook.activate]": click,
    "message.handled[report.warmup.ready]": create,
    "message.handled[report.node.hello]": node_greets,
    "message.acked[lease.request]": click,
    "message.acked[report.run.activated]": click,
    "message.acked[notebook.create]": create,
    "message.acked[notebook.activate]": click,
    "message.suspected": redelivered,
    "spawner.release.made": hub_stops,
    "spawner.release.confirmed": hub_stops,
    "lease.release.committed": release,
    "lease.match.committed": line,
    "lease.attempt.committed": attempt,
    "lease.expire.committed": deadline,
    "lease.due.marked": sweep,
    "lease.hub.greeted": hello,
    "outbox.taken": event,
    "outbox.published": event,
    "refill.snapshot.taken": create,
    "refill.create.committed": create,
    "refill.create.ordered": create,
    "refill.retire.committed": remove,
    "agent.create.journaled": create,
    "agent.container.created": create,
    "agent.container.started": create,
    "agent.warm.journaled": create,
    "agent.removal.journaled": remove,
    "agent.container.removed": remove,
    "agent.slot.removed": remove,
    "agent.journal.forgotten": remove,
    "agent.epoch.made": agent_starts,
    "agent.adopted": agent_starts,
    "liveness.hello.committed": node_greets,
    "liveness.move.committed": node_moves,
}


def story_of(process: str, point: str) -> Story:
    """The suspect process gets there in its own way."""
    return suspected if process == "suspect" else STORIES[point]
