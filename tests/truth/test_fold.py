"""Events folded give the tables, byte for byte, after any history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controlplane.clients.postgres import Granted, Postgres, fold
from controlplane.clients.postgres.driver import Driver
from controlplane.errors import Conflict
from controlplane.messages import (
    Held,
    LeaseRequest,
    NodeHeartbeat,
    NodeInventory,
    NotebookGone,
    RunAccepted,
    RunExited,
    WarmupCreated,
    WarmupFailed,
)
from controlplane.model.phases import EndReason, NodeState, NotebookPhase
from controlplane.model.rows import Notebook
from tests.truth import stage
from tests.truth.conftest import TIMEOUT_SECONDS, Owner

NODES = ("node1", "node2")


class World:
    """Random moves on what is there: `n` chooses among users, rows and nodes."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.asked: list[LeaseRequest] = []
        self.epoch = 1

    async def notebook(self, n: int) -> Notebook | None:
        rows = await self.postgres.notebooks.list()
        return rows[n % len(rows)] if rows else None

    def some(self, n: int) -> LeaseRequest:
        """Of everything that was ever asked."""
        return self.asked[n % len(self.asked)] if self.asked else stage.ask()

    async def claimed(self, n: int) -> Granted | None:
        """A lease that uses a notebook, for most n."""
        if n % 6 == 5:
            granted = await self.postgres.leases.get(self.some(n).lease)
            return granted if granted and granted.notebook else None
        rows = [row for row in await self.postgres.leases.list() if row.notebook]
        return await self.postgres.leases.get(rows[n % len(rows)].lease) if rows else None

    async def request(self, n: int) -> None:
        pool = "nothing" if n == 30 else "demo"
        budget = 0 if n == 29 else 600_000
        asked = stage.ask(f"user{n % 4}", pool=pool, budget_ms=budget)
        self.asked.append(asked)
        candidate = await self.notebook(n)
        await self.postgres.leases.request(asked, candidate and candidate.notebook)

    async def request_again(self, n: int) -> None:
        again = self.some(n).model_copy(update={"hub_process": f"hub1-{n % 3}"})
        await self.postgres.leases.request(again)

    async def release(self, n: int) -> None:
        asked = self.some(n)
        await self.postgres.leases.release(asked.lease, asked.hub, EndReason.STOPPED)

    async def serve(self, n: int) -> None:
        granted = await self.claimed(n)
        if granted and granted.notebook:
            await self.postgres.leases.serve(stage.activated(granted, stages={"api": n / 3}))

    async def attempt_failed(self, n: int) -> None:
        granted = await self.claimed(n)
        if granted and granted.notebook:
            await self.postgres.leases.attempt_failed(
                granted.lease.lease,
                granted.lease.attempt,
                granted.notebook.notebook,
                reason="broken",
                detail="said ä ☃",
                terminal=n % 8 == 7,
            )

    async def accept(self, n: int) -> None:
        granted = await self.claimed(n)
        if granted and granted.notebook:
            ids = {"notebook": granted.notebook.notebook, "lease": granted.lease.lease}
            report = RunAccepted(**stage.at(), **ids, attempt=granted.lease.attempt)
            await self.postgres.leases.accepted([report])

    async def exit(self, n: int) -> None:
        granted = await self.claimed(n)
        if granted and granted.notebook:
            ids = {"notebook": granted.notebook.notebook, "lease": granted.lease.lease}
            at = stage.at(granted.notebook.node, epoch=self.epoch)
            await self.postgres.leases.exited(RunExited(**at, **ids, exit_code=n))

    async def match(self, n: int) -> None:
        await self.postgres.leases.match("demo", 1 + n)

    async def time_out(self, n: int) -> None:
        await self.postgres.leases.unaccepted(0, 1 + n % 3)
        await self.postgres.leases.expire()

    async def create(self, n: int) -> None:
        await stage.creating(self.postgres, NODES[n % 2])

    async def warm(self, n: int) -> None:
        id = await stage.creating(self.postgres, NODES[n % 2])
        report = stage.ready_report(id, NODES[n % 2])
        await self.postgres.notebooks.ready(report.model_copy(update={"epoch": self.epoch}))

    async def report(self, n: int) -> None:
        row = await self.notebook(n // 3)
        if row is None:
            return
        at = stage.at(row.node, epoch=self.epoch)
        if n % 3 == 0:
            await self.postgres.notebooks.created(
                WarmupCreated(**at, notebook=row.notebook, container="c")
            )
        elif n % 3 == 1:
            await self.postgres.notebooks.failed(
                WarmupFailed(**at, notebook=row.notebook, reason="exited", exit_code=n)
            )
        else:
            await self.postgres.notebooks.gone(NotebookGone(**at, notebook=row.notebook))

    async def retire(self, n: int) -> None:
        rows = await self.postgres.notebooks.list()
        await self.postgres.notebooks.retire([r.notebook for r in rows[: n % 4]], "surplus")

    async def inventory(self, n: int) -> None:
        node = NODES[n % 2]
        rows = await self.postgres.notebooks.list(node=node)
        held = tuple(self.held(row, n) for row in rows[n % 3 :])
        at = stage.at(node, epoch=self.epoch)
        report = NodeInventory(**at, inventory="i", complete=n % 2 == 0, held=held)
        await self.postgres.notebooks.inventory(report)
        await self.postgres.leases.inventory(report)

    def held(self, row: Notebook, n: int) -> Held:
        state = "serving" if row.phase is NotebookPhase.LEASED else ("ready", "warming")[n % 2]
        url = "http://127.0.0.1:20002/"
        return Held(notebook=row.notebook, pool=row.pool, state=state, url=url, lease=row.lease)

    async def move_node(self, n: int) -> None:
        nodes = await self.postgres.nodes.list()
        row = nodes[n % len(nodes)]
        state = list(NodeState)[n % len(NodeState)]
        if row.state is NodeState.LOST and state is NodeState.SUSPECT:
            return
        await self.postgres.nodes.move(row.node, state, "by chance", row.version)
        if state is NodeState.LOST:
            await self.postgres.leases.node_lost(row.node)
            await self.postgres.notebooks.lose(row.node)

    async def hello(self, n: int) -> None:
        self.epoch += n % 2
        for name in NODES:
            await stage.node(self.postgres, name, epoch=self.epoch)
            await self.postgres.nodes.heartbeat(NodeHeartbeat(**stage.at(name, epoch=self.epoch)))

    async def apply(self, n: int) -> None:
        spec = stage.spec(warm=n % 3, image=f"demo:{n % 2}", paused=n % 8 == 7)
        await self.postgres.pools.apply([] if n % 10 == 9 else [spec], remove_missing=True)

    async def sweep(self, n: int) -> None:
        await self.postgres.leases.due()
        lines = await self.postgres.outbox.take(1 + n)
        await self.postgres.outbox.done([line for line, _ in lines])

    async def hub(self, n: int) -> None:
        await self.postgres.hubs.hello("hub1", f"hub1-{n % 2}", "http://hub:8081/hub/api")
        await self.postgres.hubs.inventory("hub1", f"hub1-{n % 2}", [])


# What makes things comes more often than what ends them, so that histories get somewhere.
MOVES = (
    ["warm"] * 4
    + ["request"] * 5
    + ["serve"] * 2
    + ["create", "report", "report", "retire", "inventory", "inventory", "move_node", "hello"]
    + ["request_again", "release", "attempt_failed", "accept", "exit", "match", "time_out"]
    + ["apply", "sweep", "hub"]
)
# Hypothesis likes short and boring lists; seeds make long and eventful ones.
SEEDS = st.integers(0, 2**32 - 1)
LENGTH = 60


def history(seed: int) -> list[tuple[str, int]]:
    chance = random.Random(seed)
    return [(chance.choice(MOVES), chance.randint(0, 30)) for _ in range(LENGTH)]


def test_folding_the_events_of_any_history_gives_the_tables(
    migrated_url: str, owner: Owner
) -> None:
    with asyncio.Runner() as runner:
        driver = runner.run(
            Driver.connect(
                migrated_url, size=2, statement_cache_size=100, timeout_seconds=TIMEOUT_SECONDS
            )
        )

        @settings(
            max_examples=20,
            derandomize=True,
            deadline=None,
            database=None,
            # A seed is not made simpler by making it smaller.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(seed=SEEDS)
        def holds(seed: int) -> None:
            owner.empty()
            runner.run(check(driver, history(seed)))

        try:
            holds()
        finally:
            runner.run(driver.close())


async def check(driver: Driver, moves: list[tuple[str, int]]) -> None:
    postgres = Postgres(driver)
    await stage.house(postgres, *NODES)
    world = World(postgres)
    for name, n in moves:
        move: Callable[[int], Awaitable[None]] = getattr(world, name)
        await move(n)

    folded = fold.fold(await fold.journaled(driver))

    assert fold.text(folded) == fold.text(await fold.tables(driver))
    assert await postgres.violations() == []


async def test_histories_that_run_at_the_same_time_keep_the_invariants(
    postgres: Postgres, migrated_url: str
) -> None:
    """Four copies of every worker: whatever the locks do, it is a `Conflict` at the most."""
    await stage.house(postgres, *NODES)
    world = World(postgres)

    async def live(seed: int) -> None:
        for name, n in history(seed):
            with suppress(Conflict):
                await getattr(world, name)(n)

    await asyncio.gather(*(live(seed) for seed in range(4)))

    driver = await Driver.connect(
        migrated_url, size=1, statement_cache_size=100, timeout_seconds=TIMEOUT_SECONDS
    )
    folded = fold.fold(await fold.journaled(driver))
    assert fold.text(folded) == fold.text(await fold.tables(driver))
    assert await postgres.violations() == []
    await driver.close()


def test_the_order_in_which_events_come_does_not_matter() -> None:
    events = [
        fold.Event(entity="node", key="a", version=1, phase="ready", change={"x": 1, "y": 1}),
        fold.Event(entity="node", key="a", version=2, phase="lost", change={"x": 2}),
        fold.Event(entity="node", key="b", version=1, phase="ready", change={"x": 9}),
        fold.Event(entity="node", key="b", version=2, phase="forgotten", change=None),
    ]

    assert fold.fold(reversed(events)) == {("node", "a"): {"x": 2, "y": 1}}


def test_a_fold_that_missed_an_event_is_seen(migrated_url: str, owner: Owner) -> None:
    """The property can fail: without one of its events the tables differ."""

    async def differs() -> bool:
        driver = await Driver.connect(
            migrated_url, size=1, statement_cache_size=100, timeout_seconds=TIMEOUT_SECONDS
        )
        await stage.house(Postgres(driver))
        await stage.warm(Postgres(driver))
        events = await fold.journaled(driver)
        rows = await fold.tables(driver)
        await driver.close()
        return all(
            fold.text(fold.fold(events[:n] + events[n + 1 :])) != fold.text(rows)
            for n in range(len(events))
        )

    owner.empty()

    assert asyncio.run(differs())
