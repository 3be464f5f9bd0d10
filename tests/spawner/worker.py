"""A scripted lease worker and the notebooks that it hands out: messages in, answers out.

Its notebooks are HTTP servers of this process; its memory is what Postgres would hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from controlplane.clients.rabbitmq import Broker, Delivery, hub
from controlplane.messages import (
    HubHello,
    HubInventory,
    HubPools,
    HubSnapshot,
    KnownLease,
    KnownPool,
    LeaseClaimed,
    LeaseEnded,
    LeaseRelease,
    LeaseRequest,
    LeaseServing,
    LinePlaces,
    LineQuestion,
    Message,
    Place,
    PoolsQuestion,
    decode,
)

NOTEBOOK = "0190f3a0-0000-7000-8000-000000000001"
SECONDS = 120.0


class Notebook(RequestHandler):
    """Answers everything under any prefix; the hub only asks whether somebody is there."""

    def get(self) -> None:
        self.write({"version": "stub", "path": self.request.path})


@dataclass
class Row:
    """One lease, and the notebook that serves it."""

    request: LeaseRequest
    hub_process: str
    phase: str = "waiting"
    url: str | None = None
    home: str = ""
    reason: str = ""
    server: Any = None


@dataclass
class Worker:
    """`policy` decides what becomes of a request: `serve`, `hold` or the reason it ends.

    `of_pool` has the pools for which another one holds.
    """

    broker: Broker
    policy: str = "serve"
    of_pool: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    pools: tuple[KnownPool, ...] = (KnownPool(pool="small", memory_mib=1024, cpus=2.0),)
    rows: dict[str, Row] = field(default_factory=dict)
    heard: list[Message] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def start(cls, amqp_url: str, installation: str) -> Worker:
        broker = await Broker.connect(amqp_url, installation=installation, source="worker")
        await broker.declare()
        worker = cls(broker)
        consumer = await broker.consume("lease.requests", worker.hear, prefetch=16)
        async with asyncio.timeout(SECONDS):
            await consumer.consuming.wait()
        return worker

    async def close(self) -> None:
        for row in self.rows.values():
            self._stop(row)
        await self.broker.close()

    async def hear(self, delivery: Delivery) -> None:
        message = decode(delivery.body).message
        self.heard.append(message)
        match message:
            case LeaseRequest():
                await self._request(message)
            case LeaseRelease():
                await self.end(message.lease, str(message.reason))
            case LineQuestion() if message.lease in self.rows:
                row = self.rows[message.lease]
                row.hub_process = message.hub_process
                await self.tell_row(message.lease)
            case HubHello() if not self.silent:
                await self._snapshot(message)
            case PoolsQuestion() if not self.silent:
                await self._pools(message)
        await delivery.ack()
        self.changed.set()

    async def serve(self, lease: str) -> None:
        """Give this lease a notebook and say so."""
        row = self.rows[lease]
        sockets = bind_sockets(0, "127.0.0.1")
        row.server = HTTPServer(Application([(".*", Notebook)]))
        row.server.add_sockets(sockets)
        row.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        row.phase = "serving"
        claimed = LeaseClaimed(lease=lease, attempt=1, notebook=NOTEBOOK, node="n1")
        await self._tell(row, claimed)
        await self.tell_row(lease)

    async def end(self, lease: str, reason: str) -> None:
        """End this lease and its notebook."""
        row = self.rows.get(lease)
        if row is not None and row.phase != "ended":
            self._stop(row)
            row.phase, row.reason = "ended", reason
            await self.tell_row(lease)

    async def tell_row(self, lease: str) -> None:
        """What the row implies."""
        row = self.rows[lease]
        if row.phase == "ended":
            await self._tell(row, LeaseEnded(lease=lease, reason=row.reason))
        elif row.phase == "serving" and row.url is not None:
            where = {"node": "n1", "url": row.url, "home": row.home}
            serving = LeaseServing.model_validate({"lease": lease, "notebook": NOTEBOOK, **where})
            await self._tell(row, serving)
        else:
            await self._tell(row, self.places(lease))

    def places(self, lease: str) -> LinePlaces:
        return LinePlaces(
            pool=self.rows[lease].request.pool,
            why="warming",
            warming=2,
            eta_seconds=12,
            places=(Place(lease=lease, place=self._place(lease)),),
        )

    async def _pools(self, asked: PoolsQuestion) -> None:
        answer = HubPools(hub=asked.hub, snapshot="p", pools=self.pools)
        await self.broker.publish(answer, hub(asked.hub_process))

    def leases(self, user: str, server: str = "", hub: str | None = None) -> list[str]:
        """The leases asked for by this user for this server, oldest first."""
        return [
            lease
            for lease, row in self.rows.items()
            if (row.request.user, row.request.server) == (user, server)
            and hub in (None, row.request.hub)
        ]

    async def until(self, wanted: Callable[[], Any]) -> Any:
        """What `wanted` returns, as soon as it is true after a message."""
        async with asyncio.timeout(SECONDS):
            while not (found := wanted()):
                self.changed.clear()
                await self.changed.wait()
        return found

    def inventories(self, hub: str) -> list[HubInventory]:
        return [m for m in self.heard if isinstance(m, HubInventory) and m.hub == hub]

    async def _request(self, message: LeaseRequest) -> None:
        if message.lease in self.rows:
            return await self.tell_row(message.lease)
        row = self.rows[message.lease] = Row(request=message, hub_process=message.hub_process)
        policy = self.of_pool.get(message.pool, self.policy)
        if policy == "serve":
            await self.serve(message.lease)
        elif policy == "hold":
            await self._tell(row, self.places(message.lease))
        else:
            await self.end(message.lease, policy)

    async def _snapshot(self, hello: HubHello) -> None:
        known = tuple(
            KnownLease(
                lease=lease,
                user=row.request.user,
                server=row.request.server,
                phase=row.phase,
                url=row.url,
            )
            for lease, row in self.rows.items()
            if row.request.hub == hello.hub and row.phase != "ended"
        )
        snapshot = HubSnapshot(hub=hello.hub, snapshot="s", leases=known, pools=self.pools)
        await self.broker.publish(snapshot, hub(hello.hub_process))

    async def _tell(self, row: Row, answer: Message) -> None:
        await self.broker.publish(answer, hub(row.hub_process))

    def _place(self, lease: str) -> int:
        """First come, first served."""
        pool = self.rows[lease].request.pool
        line = [
            id
            for id, row in self.rows.items()
            if row.request.pool == pool and row.phase == "waiting"
        ]
        return line.index(lease) + 1 if lease in line else 1

    def _stop(self, row: Row) -> None:
        if row.server is not None:
            row.server.stop()
            row.server = None
