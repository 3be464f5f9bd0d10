"""A hub that asks for leases: the spawner's own door and seal, without the spawner and its hub.

Open loop: a lease is due every 1/rate seconds, whatever became of those before, and is timed
from when it was due. Closed loop: so many people who ask, release and ask again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.runs import quantile
from controlplane.errors import GreenroomError
from controlplane.messages import LeaseRequest
from controlplane.spawner import asking, identity
from controlplane.spawner.claim import Claim
from controlplane.spawner.door import Door
from controlplane.spawner.road import Address

BUDGET_SECONDS = 60.0
# Homes are made once and found again, as most people's are.
PEOPLE = 2_000
HUB = "bench"


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What the hub heard of one lease. `ms` is None, and `problem` says why, if it never served.

    `at` is when it was served, in seconds since its loop began.
    """

    lease: str
    ms: float | None = None
    at: float = 0.0
    notebook: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Load:
    """All leases of one loop. `seconds` is how long it was asked for, not how long it took."""

    leases: tuple[Lease, ...]
    seconds: float

    @property
    def served_ms(self) -> list[float]:
        return sorted(lease.ms for lease in self.leases if lease.ms is not None)

    @property
    def per_second(self) -> float:
        """Of what was served while the loop asked: a queue that empties later is no throughput."""
        in_time = sum(1 for x in self.leases if x.ms is not None and x.at <= self.seconds)
        return in_time / self.seconds

    def quantiles(self) -> dict[str, float]:
        """Milliseconds from when a lease was due to `lease.serving`."""
        ms = self.served_ms
        shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}
        return {name: round(quantile(ms, share), 2) for name, share in shares.items()}


class Hub:
    """One hub process that has a door and no people of its own."""

    def __init__(self, door: Door, pool: str, keys: Sequence[str]) -> None:
        self._door = door
        self._pool = pool
        self._keys = keys
        self._people = itertools.cycle(range(PEOPLE))

    async def open_loop(self, *, rate: float, seconds: float, hold: float) -> Load:
        """A lease every 1/rate seconds, each released after `hold` seconds."""
        clock = asyncio.get_running_loop()
        begun = clock.time()
        async with asyncio.TaskGroup() as people:
            tasks = []
            for number in range(round(rate * seconds)):
                due = begun + number / rate
                await asyncio.sleep(due - clock.time())
                tasks.append(people.create_task(self._one(begun, due=due, hold=hold)))
        return Load(leases=tuple(task.result() for task in tasks), seconds=seconds)

    async def closed_loop(self, *, people: int, seconds: float) -> Load:
        """So many at once, each asks again as soon as it has been served and has released."""
        clock = asyncio.get_running_loop()
        begun = clock.time()

        async def one() -> list[Lease]:
            done = []
            while (now := clock.time()) < begun + seconds:
                done.append(await self._one(begun, due=now, hold=0))
            return done

        done = await asyncio.gather(*(one() for _ in range(people)))
        return Load(leases=tuple(lease for each in done for lease in each), seconds=seconds)

    async def _one(self, begun: float, *, due: float, hold: float) -> Lease:
        clock = asyncio.get_running_loop()
        user = f"person{next(self._people)}"
        claim = Claim(identity.lease_id(), pool=self._pool, since=clock.time())
        self._door.hold(claim)
        try:
            await self._door.ask(self._request(claim.lease, user))
            await claim.wait_settled(BUDGET_SECONDS + 10)
            now = clock.time()
            told = _told(claim, ms=(now - due) * 1000, at=now - begun)
            await asyncio.sleep(hold)
        except GreenroomError as error:
            return Lease(lease=claim.lease, problem=f"ask: {error}"[:200])
        finally:
            await self._door.release(claim.lease, "stopped")
            self._door.let_go(claim)
        return told

    def _request(self, lease: str, user: str) -> LeaseRequest:
        start = asking.Start(
            lease=lease,
            hub=self._door.hub,
            hub_process=self._door.hub_process,
            user=user,
            server="",
            prefix=f"/user/{user}/",
            pool=self._pool,
            groups=(),
            budget_seconds=BUDGET_SECONDS,
        )
        return asking.request(start, _environment(user), (), self._keys)


@asynccontextmanager
async def hub(amqp_url: str, installation: str, *, pool: str, key: str) -> AsyncIterator[Hub]:
    """A hub whose door is open and has had its snapshot."""
    address = Address(
        amqp_url=amqp_url,
        installation=installation,
        hub=HUB,
        # An address for documentation: nobody asks this hub for anything.
        api_url="http://192.0.2.1:8081/hub/api",
    )
    door = Door(address, log=logging.getLogger("benchmarks.door"))
    door.open()
    try:
        if not await door.snapshot(60):
            raise TimeoutError("no lease worker answered the hub's hello within 60 s")
        yield Hub(door, pool, [key])
    finally:
        await door.close()


def _told(claim: Claim, *, ms: float, at: float) -> Lease:
    if claim.phase == "serving" and claim.served is not None:
        notebook = claim.served.notebook
        return Lease(lease=claim.lease, ms=round(ms, 2), at=round(at, 3), notebook=notebook)
    if claim.ended is not None:
        why = f"ended: {claim.ended.reason} {claim.ended.detail}"
        return Lease(lease=claim.lease, problem=why[:200])
    return Lease(lease=claim.lease, problem="lost")


def _environment(user: str) -> dict[str, str]:
    """As much as a hub gives to a server."""
    prefix = f"/user/{user}/"
    return {
        "JUPYTERHUB_API_TOKEN": "0" * 32,
        "JUPYTERHUB_API_URL": "http://192.0.2.1:8081/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": f"http://192.0.2.1:8081/hub/api/users/{user}/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{user}",
        "JUPYTERHUB_DEFAULT_URL": "/lab",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([f"access:servers!user={user}"]),
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": json.dumps([f"access:servers!user={user}"]),
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:8888{prefix}",
        "JUPYTERHUB_USER": user,
        "LANG": "C.UTF-8",
    }
