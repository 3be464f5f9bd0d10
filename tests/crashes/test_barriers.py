"""Three barriers against giving one notebook twice, each alone; and what is seen without two.

Redis pops each notebook once. Postgres decides. A notebook is activated once in its life. A
barrier that is off does the worst: Redis names one notebook to everybody, whoever asks Postgres
is given what Redis said, an agent carries out every order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.simulated import ledger
from benchmarks.simulated.ledger import Activation
from controlplane.clients.postgres import Granted
from controlplane.clients.postgres.leases import Leases
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.redis import Index
from controlplane.messages import ActivateNotebook, LeaseRequest, Message, RunActivated
from controlplane.model.phases import LeasePhase
from controlplane.model.rows import Lease, Notebook
from tests.crashes import verdict
from tests.crashes.lanes import two_workers
from tests.crashes.stage import NODE, Stage
from tests.lease.actors import Agent

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]

WARM = 4
CONTROL = ("lease", "refill", "liveness", "suspect")
REDIS, POSTGRES, NOTEBOOK = "redis", "postgres", "notebook"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Which barriers hold, and how many of eight people get an order for one of four notebooks."""

    on: frozenset[str]
    ordered: int
    forgets: bool = True


ALONE = {
    "redis": Case(on=frozenset({REDIS}), ordered=4, forgets=False),
    "postgres": Case(on=frozenset({POSTGRES}), ordered=4),
    "notebook": Case(on=frozenset({NOTEBOOK}), ordered=8),
    "all three": Case(on=frozenset({REDIS, POSTGRES, NOTEBOOK}), ordered=4),
}
TOO_FEW = {
    "without postgres and notebook": Case(on=frozenset({REDIS}), ordered=8),
    "without any": Case(on=frozenset(), ordered=8),
}


class Obedient(Agent):
    """An agent without a journal, and notebooks that take whatever they are told."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker, NODE)
        self.activations: list[Activation] = []

    async def react(self, message: Message) -> None:
        if isinstance(message, ActivateNotebook):
            given = Activation(notebook=message.notebook, lease=message.lease)
            # The same order again is answered again, and done once.
            if given not in self.activations:
                self.activations.append(given)


class House:
    """Two copies of the lease worker, on a stage without any other."""

    def __init__(self, stage: Stage, pool: str, warm: list[Notebook], epoch: int) -> None:
        self.stage = stage
        self.pool = pool
        self.warm = {each.notebook: each for each in warm}
        self.epoch = epoch
        self.obedient: Obedient | None = None
        self.decided: set[str] = set()
        self.answered: set[str] = set()

    def activations(self) -> list[Activation]:
        """What the notebooks of this pool say themselves."""
        told = self.obedient.activations if self.obedient else ledger.read([self.stage.ledger])
        return [each for each in told if each.notebook in self.warm]

    def ordered(self) -> set[str]:
        """Leases whose order was carried out or refused."""
        if self.obedient is not None:
            return {each.lease for each in self.obedient.activations}
        return self.answered

    async def ask(self, count: int) -> None:
        """So many people; returns when all are decided."""
        asked = {(await self.stage.asks(self.pool)).lease for _ in range(count)}

        async def decided() -> bool:
            return asked <= self.decided

        await self.stage.until(decided, "all requests are decided")

    async def until_ordered(self, count: int) -> None:
        async def so() -> bool:
            return len(self.ordered()) == count

        await self.stage.until(so, f"{count} orders are answered")


@asynccontextmanager
async def prepared(
    stage: Stage, case: Case, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    pool = await stage.pool(warm=WARM)
    (node,) = await stage.postgres.nodes.list()
    house = House(stage, pool, await stage.postgres.notebooks.list(pool=pool), node.epoch)
    pop_as_told(house, case, monkeypatch)
    decide_as_told(house, case, monkeypatch)
    hear_answers(house, monkeypatch)
    away = CONTROL if NOTEBOOK in case.on else (*CONTROL, "agent")
    async with stage.without(*away), AsyncExitStack() as leaving:
        if NOTEBOOK not in case.on:
            broker = await Broker.connect(
                stage.amqp_url, installation=stage.installation, source="obedient"
            )
            leaving.push_async_callback(broker.close)
            house.obedient = Obedient(broker)
            await house.obedient.read(f"node.{NODE}")
        yield house


def pop_as_told(house: House, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async def honest(index: Index, pool: str) -> str | None:
        # Without its 20 ms: on a busy machine nobody would be popped.
        found = await index._pop(keys=[index._key("generation"), index._key(f"ready:{pool}")])
        return found.decode() if found else None

    async def the_same(_: Index, __: str) -> str | None:
        return next(iter(house.warm))

    monkeypatch.setattr(Index, "pop", honest if REDIS in case.on else the_same)


def decide_as_told(house: House, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Leases.request

    async def decides(
        leases: Leases, ask: LeaseRequest, candidate: str | None = None, *, traceparent: str = ""
    ) -> Granted:
        if POSTGRES in case.on:
            granted = await request(leases, ask, candidate, traceparent=traceparent)
        else:
            granted = taken_at_its_word(house, ask, candidate)
        house.decided.add(ask.lease)
        return granted

    monkeypatch.setattr(Leases, "request", decides)


def taken_at_its_word(house: House, ask: LeaseRequest, candidate: str | None) -> Granted:
    """What Postgres would have said, had it not looked."""
    now = datetime.now(UTC)
    names = {"lease", "hub", "hub_process", "user", "server", "prefix", "pool", "sealed"}
    row = Lease(
        **ask.model_dump(include=names),
        phase=LeasePhase.CLAIMED if candidate else LeasePhase.WAITING,
        version=1,
        attempt=1,
        place=1,
        created_at=now,
        phase_at=now,
        deadline=now + timedelta(minutes=5),
        notebook=candidate,
        node=NODE if candidate else None,
    )
    notebook = house.warm[candidate] if candidate else None
    return Granted(lease=row, now=now, notebook=notebook, epoch=house.epoch)


def hear_answers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    serve, failed = Leases.serve, Leases.attempt_failed

    async def served(leases: Leases, report: RunActivated) -> Granted | None:
        house.answered.add(report.lease)
        return await serve(leases, report)

    async def over(leases: Leases, lease: str, *about: object, **why: object) -> Granted | None:
        house.answered.add(lease)
        return await failed(leases, lease, *about, **why)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Leases, "serve", served)
    monkeypatch.setattr(Leases, "attempt_failed", over)


async def eight_people(
    stage: Stage, case: Case, monkeypatch: pytest.MonkeyPatch
) -> list[Activation]:
    """Four ask, Redis is restored from a dump of before, four more ask: who was activated."""
    async with prepared(stage, case, monkeypatch) as house, two_workers(stage) as index:
        assert await index.audit({house.pool: list(house.warm)})
        await house.ask(WARM)
        if case.forgets:
            assert await index.audit({house.pool: list(house.warm)})
        await house.ask(WARM)
        await house.until_ordered(case.ordered)
        return house.activations()


@pytest.mark.parametrize("case", ALONE.values(), ids=ALONE)
async def test_a_barrier_holds_alone(
    stage: Stage, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    activations = await eight_people(stage, case, monkeypatch)

    assert activations
    verdict.doubled_nowhere(activations)


@pytest.mark.parametrize("case", TOO_FEW.values(), ids=TOO_FEW)
async def test_without_postgres_and_the_notebook_the_verdict_sees_doubles(
    stage: Stage, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    activations = await eight_people(stage, case, monkeypatch)

    with pytest.raises(AssertionError, match="S4: activated twice"):
        verdict.doubled_nowhere(activations)
