"""What the spawner's unit tests play on: a road without a broker, and a hub's stand-ins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

from cryptography.fernet import Fernet
from jupyterhub import orm
from traitlets.config import Config

from controlplane.clients.rabbitmq import Delivery, Route
from controlplane.messages import (
    HubHello,
    HubSnapshot,
    KnownLease,
    KnownPool,
    LeaseClaimed,
    LeaseRequest,
    LeaseServing,
    Message,
    encode,
)
from controlplane.spawner import GreenroomSpawner
from controlplane.spawner.door import Door
from controlplane.spawner.road import Address

KEY = Fernet.generate_key().decode()
NOTEBOOK = "0190f3a0-0000-7000-8000-000000000001"
URL = "http://10.1.2.3:20001"
# A deadline for what takes milliseconds, on a machine that is very busy.
SOON = 30.0

Answer = Callable[[Message], Iterable[Message]]


class Road:
    """In place of a Broker: remembers what was sent and answers like a lease worker.

    `answer` makes the answers to a message; `broken` is raised instead of sending.
    """

    def __init__(self) -> None:
        self.door: Door | None = None
        self.sent: list[Message] = []
        self.expires: list[int | None] = []
        self.answer: Answer = lambda message: ()
        self.broken: Exception | None = None
        self._changed = asyncio.Event()

    async def publish(
        self, body: Message, route: Route, *, expires_ms: int | None = None, traceparent: str = ""
    ) -> None:
        if self.broken is not None:
            raise self.broken
        self.sent.append(body)
        self.expires.append(expires_ms)
        self._changed.set()
        for answer in self.answer(body):
            await self.tell(answer)

    async def consume(
        self, queue: str, on_delivery: Callable[[Delivery], Awaitable[None]], *, prefetch: int
    ) -> None:
        """Nothing comes but by `tell`."""

    async def close(self) -> None:
        """Nothing to close."""

    async def tell(self, answer: Message) -> None:
        """Bring an answer to the hub."""
        assert self.door is not None
        await self.door.hear(Letter(encode(answer, id="1", source="test", time="now")))

    async def until(self, wanted: Callable[[], Any]) -> Any:
        """What `wanted` returns, as soon as it is true after something was sent."""
        async with asyncio.timeout(SOON):
            while not (found := wanted()):
                self._changed.clear()
                await self._changed.wait()
        return found

    def all(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]

    async def first(self, kind: type[Message]) -> Any:
        return (await self.until(lambda: self.all(kind)))[0]


class Letter:
    """In place of a Delivery."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.settled: list[str] = []

    async def ack(self) -> None:
        self.settled.append("acked")

    async def quarantine(self, reason: str, detail: str = "") -> None:
        self.settled.append(reason)


def shut_door() -> Door:
    """A door that goes nowhere."""
    nowhere = Address(amqp_url="", installation="t", hub="hub1", api_url="")
    return Door(nowhere, log=logging.getLogger("test"))


async def open_door(
    road: Road, *, pools: Iterable[KnownPool] = (), hub: str = "hub1", greeted: bool = True
) -> Door:
    """A door on that road; with pools, also its first snapshot."""
    address = Address(
        amqp_url="amqp://none", installation="t", hub=hub, api_url="http://hub.example:8081/hub/api"
    )
    road.door = Door(address, log=logging.getLogger("test"))
    road.door.open_on(road)
    if greeted:
        await road.door.greet()
    if pools:
        await road.tell(snapshot(pools=pools, hub=hub))
    return road.door


def snapshot(
    *, pools: Iterable[KnownPool] = (), leases: Iterable[KnownLease] = (), hub: str = "hub1"
) -> HubSnapshot:
    return HubSnapshot(hub=hub, snapshot="s", leases=tuple(leases), pools=tuple(pools))


def serving(lease: str, url: str = URL, *, home: str = "") -> LeaseServing:
    return LeaseServing(lease=lease, notebook=NOTEBOOK, node="n1", url=url, home=home)


def snapshots_with(*leases: KnownLease, pools: Iterable[KnownPool] = ()) -> Answer:
    """Answers every hello with this snapshot."""

    def answer(message: Message) -> Iterable[Message]:
        if isinstance(message, HubHello):
            yield snapshot(leases=leases, pools=pools, hub=message.hub)

    return answer


def spawner(
    door: Door | None = None,
    *,
    user: str = "ann",
    name: str = "",
    groups: Iterable[str] = (),
    running: bool = True,
    **config: Any,
) -> GreenroomSpawner:
    """A spawner of a hub at hub.example, as the hub makes it; `running`: it has a server row."""
    base = f"/user/{user}/"
    prefix = f"{base}{name}/" if name else base
    person = SimpleNamespace(
        name=user,
        escaped_name=user,
        base_url=base,
        url=base,
        groups=[SimpleNamespace(name=group) for group in groups],
        spawners={},
    )
    hub = SimpleNamespace(
        public_host="",
        api_url=config.pop("api_url", "http://hub.example:8081/hub/api"),
        base_url="/hub/",
    )
    row = orm.Spawner(name=name, state={})
    if running:
        row.server = orm.Server(
            base_url=prefix, proto="http", ip="127.0.0.1", port=1, cookie_name=""
        )
    settings = {"seal_keys": [KEY], "pool": "small"} | config
    arguments = {} if door is None else {"door": door}
    made = GreenroomSpawner(
        user=person,
        hub=hub,
        orm_spawner=row,
        oauth_client_id=f"jupyterhub-user-{user}",
        api_token="secret-token",
        config=Config({"GreenroomSpawner": settings}),
        **arguments,
    )
    person.spawners[name] = made
    return made


def beside(other: GreenroomSpawner, name: str, **config: Any) -> GreenroomSpawner:
    """Another server of the same person."""
    groups = [group.name for group in other.user.groups]
    made = spawner(other.door, user=other.user.name, name=name, groups=groups, **config)
    made.user = other.user
    other.user.spawners[name] = made
    return made


def pool(name: str = "small", **fields: Any) -> KnownPool:
    return KnownPool(pool=name, **({"memory_mib": 1024, "cpus": 2.0} | fields))


def serve(message: Message) -> Iterable[Message]:
    """A warm pool."""
    if isinstance(message, LeaseRequest):
        lease = message.lease
        yield LeaseClaimed(lease=lease, attempt=1, notebook=NOTEBOOK, node="n1")
        yield serving(lease)
