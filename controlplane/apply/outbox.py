"""Events that were committed become messages: right after the commit, or at the next sweep.

Several processes may do it at once: what one takes, nobody else gets for a few seconds.
Readers expect twins and any order. Of hints that say the same to whoever hears them, one goes
out for all that were taken together.
"""

from __future__ import annotations

import asyncio

import structlog

from controlplane import failpoints
from controlplane.clients import rabbitmq as routes
from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.errors import BadMessage, Retry
from controlplane.messages import Moved
from controlplane.model.phases import LeasePhase, NotebookPhase

SWEEP_SECONDS = 0.5
# For workers beside the one that sweeps so often: in case no copy of that one runs.
SPARE_SWEEP_SECONDS = 2.0
# What a burst commits within this time goes out in one batch, out of the hot path's way.
GATHER_SECONDS = 0.01
# Where nobody waits for it: as often as refill looks at a pool.
LEISURELY_SECONDS = 0.1
BATCH = 200
# Who hears these looks at the pool, whichever row it was.
ABOUT_POOLS = frozenset(
    {
        ("notebook", NotebookPhase.LEASED.value),
        ("notebook", NotebookPhase.GONE.value),
        ("lease", LeasePhase.WAITING.value),
    }
)

log = structlog.get_logger()


async def publish_events(postgres: Postgres, broker: Broker) -> int:
    """Publish what the outbox holds; how many lines. A service that is away leaves the rest
    to the next sweep, of any process."""
    published = 0
    try:
        while lines := await postgres.outbox.take(BATCH):
            published += await _publish(postgres, broker, lines)
            if len(lines) < BATCH:
                break
    except Retry as error:
        log.warning("outbox.left_to_sweep", error=str(error))
    return published


class Outbox:
    """The sweep of one process, woken early by a commit of its own."""

    def __init__(
        self,
        postgres: Postgres,
        broker: Broker,
        *,
        every_seconds: float = SWEEP_SECONDS,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._postgres = postgres
        self._broker = broker
        self._every_seconds = every_seconds
        self._gather_seconds = gather_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was committed."""
        self._woken.set()

    async def sweep(self) -> None:
        """One turn: wait for `wake`, or for the time of a sweep, and publish what there is."""
        if await self._woken_in_time():
            await asyncio.sleep(self._gather_seconds)
        self._woken.clear()
        await publish_events(self._postgres, self._broker)

    async def _woken_in_time(self) -> bool:
        try:
            async with asyncio.timeout(self._every_seconds):
                return await self._woken.wait()
        except TimeoutError:
            return False


async def _publish(postgres: Postgres, broker: Broker, lines: list[tuple[int, Moved]]) -> int:
    """Lines that the broker confirmed leave the outbox, also when another one failed."""
    failpoints.reach("outbox.taken")
    said = _said_once(lines)
    outcomes = await asyncio.gather(
        *(_send(broker, moved) for moved, _ in said), return_exceptions=True
    )
    failpoints.reach("outbox.published")
    done = [
        id for (_, ids), error in zip(said, outcomes, strict=True) if error is None for id in ids
    ]
    if done:
        await postgres.outbox.done(done)
    for error in outcomes:
        if error is not None:
            raise error
    return len(done)


def _said_once(lines: list[tuple[int, Moved]]) -> list[tuple[Moved, list[int]]]:
    """Each event with the lines that it speaks for; the newest one speaks for its like."""
    said: dict[tuple[str, ...], tuple[Moved, list[int]]] = {}
    for id, moved in lines:
        about: tuple[str, ...] = (moved.entity, moved.phase, moved.pool)
        if about[:2] not in ABOUT_POOLS:
            about = (str(id),)
        _, ids = said.get(about, (moved, []))
        said[about] = (moved, [*ids, id])
    return list(said.values())


async def _send(broker: Broker, moved: Moved) -> None:
    try:
        await broker.publish(moved, routes.event(moved))
    except BadMessage as error:
        # Without its change it is still a hint with its key.
        log.warning("outbox.too_long", entity=moved.entity, key=moved.key, error=str(error))
        await broker.publish(moved.model_copy(update={"change": {}}), routes.event(moved))
