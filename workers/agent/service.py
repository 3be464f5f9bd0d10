"""The agent as a process: the broker on one side, the engine on the other."""

from __future__ import annotations

import asyncio

from controlplane.clients.docker import Docker, Engine
from controlplane.clients.rabbitmq import Broker, report
from controlplane.errors import BadSettings
from controlplane.messages import Envelope, Report, known_types
from controlplane.settings import Settings
from workers import process
from workers.agent import epoch
from workers.agent.agent import Agent
from workers.agent.node import address_of
from workers.loop import Lane, Reader

HEARTBEAT_EVERY_SECONDS = 2.0
INVENTORY_EVERY_SECONDS = 10.0
# Waiting for a turn is the agent's own affair, so all who wait are let in.
PREFETCH = 200
# To write an order down; a disk that needs longer has other troubles.
TAKE_SECONDS = 60.0
STOP_SECONDS = 3.0


async def main(settings: Settings) -> None:
    """Run this node's agent until it is told to stop. `BadSettings` before anything is done."""
    address_of(settings)
    if not settings.keys():
        raise BadSettings("seal_keys is empty: give the agent the keys that the hubs seal with")
    # Said in one line now instead of out of a task later; the agent takes it for good.
    epoch.unlock(epoch.lock(settings.node_state_dir.absolute()))
    service = Service(settings, Docker(settings.node.docker_host))
    try:
        await process.run("agent", settings, service.broker, service.work())
    finally:
        await service.broker.close()


class Service:
    """What joins one agent to its broker."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._open = asyncio.Event()
        self._greeted = asyncio.Event()
        self._reading = asyncio.Event()
        self._agent: Agent | None = None
        self.broker = Broker.start(
            settings.amqp_url.get_secret_value(),
            installation=settings.installation,
            source=f"agent.{settings.node.name}",
            on_connect=self.hello,
        )

    def work(self) -> process.Work:
        """Everything that one node's agent does."""
        return process.Work(
            ticks=(
                process.Tick(
                    name="heartbeat", every_seconds=HEARTBEAT_EVERY_SECONDS, call=self.heartbeat
                ),
                process.Tick(
                    name="inventory", every_seconds=INVENTORY_EVERY_SECONDS, call=self.inventory
                ),
            ),
            tasks=(process.Task(name="agent", run=self.run),),
            ready=self.ready,
        )

    def ready(self) -> bool:
        """Can it take orders and carry them out?"""
        return self._open.is_set() and self._agent is not None and self._agent.watch.answering

    async def run(self) -> None:
        """Adopt, then take commands for as long as the process lives."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._agent = Agent(self._settings, self._engine, self._publish, tasks)
                await self._take_commands(self._agent)
        finally:
            if self._agent is not None:
                self._agent.close()
            await self._engine.close()

    async def hello(self) -> None:
        """After each connect, once everything here is adopted."""
        await self._open.wait()
        # Whoever hears the hello may send an order at once: there must be a queue for it.
        await self._reading.wait()
        await self._must().say_hello()
        self._greeted.set()

    async def heartbeat(self) -> None:
        """Silent until the node has said its epoch."""
        if self._greeted.is_set():
            await self._must().send_heartbeat()

    async def inventory(self) -> None:
        """The same; an inventory of an epoch that nobody knows says nothing."""
        if self._greeted.is_set():
            await self._must().send_inventory()

    async def _take_commands(self, agent: Agent) -> None:
        await agent.open()
        # Not one of the process' lanes: those are read before everything here is adopted.
        reader = Reader(self.broker, self._lane(agent))
        self._reading = (await reader.start()).consuming
        self._open.set()
        try:
            await asyncio.Event().wait()
        finally:
            # Orders stop before the work does.
            await reader.drain(STOP_SECONDS)

    def _lane(self, agent: Agent) -> Lane:
        async def take(envelope: Envelope) -> None:
            await agent.desk.take(envelope.message)

        return Lane(
            queue=f"node.{self._settings.node.name}",
            # The desk says of the others that they are no commands.
            handlers=dict.fromkeys(known_types().values(), take),
            prefetch=PREFETCH,
            seconds=TAKE_SECONDS,
            takes_redelivered=True,
        )

    async def _publish(self, body: Report) -> None:
        await self.broker.publish(body, report(body))

    def _must(self) -> Agent:
        assert self._agent is not None
        return self._agent
