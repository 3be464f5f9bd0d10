"""A scripted agent and a scripted hub: plain readers of their queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from controlplane.clients import rabbitmq
from controlplane.clients.rabbitmq import Broker, Delivery
from controlplane.messages import (
    ActivateNotebook,
    HubSnapshot,
    LinePlaces,
    Message,
    Report,
    RetireNotebook,
    RunAccepted,
    RunActivated,
    RunFailed,
    RunRefused,
    decode,
)
from tests.truth.stage import at

M = TypeVar("M", bound=Message)

# Far more than anything here takes: a machine may be busy with other things.
DEADLINE_SECONDS = 120


class Reader:
    """Everything that came, and a way to wait for what has to come."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.heard: list[Message] = []
        self._news = asyncio.Condition()

    async def read(self, queue: str) -> None:
        consumer = await self.broker.consume(queue, self._receive, prefetch=50)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await consumer.consuming.wait()

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until what was heard fulfils this."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(holds)

    async def hears(self, kind: type[M], lease: str) -> M:
        """The first message of this kind about this lease."""

        def found() -> list[M]:
            return [m for m in self.all(kind) if getattr(m, "lease", None) == lease]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def _receive(self, delivery: Delivery) -> None:
        message = decode(delivery.body).message
        await delivery.ack()
        await self.react(message)
        async with self._news:
            self.heard.append(message)
            self._news.notify_all()

    async def react(self, message: Message) -> None:
        """What this actor does by itself."""


class Hub(Reader):
    """One hub process."""

    def __init__(self, broker: Broker, hub: str, process: str) -> None:
        super().__init__(broker)
        self.hub = hub
        self.process = process

    async def asks(self, message: Message) -> None:
        await self.broker.publish(message, rabbitmq.request(message))

    async def place_of(self, lease: str) -> tuple[int, LinePlaces]:
        """The last place that it heard of."""

        def told() -> list[tuple[int, LinePlaces]]:
            return [
                (place.place, message)
                for message in self.all(LinePlaces)
                for place in message.places
                if place.lease == lease
            ]

        await self.until(lambda: bool(told()))
        return told()[-1]

    async def snapshot(self) -> list[HubSnapshot]:
        """The parts of the newest complete snapshot."""

        def parts() -> list[HubSnapshot]:
            whole: dict[str, list[HubSnapshot]] = {}
            for part in self.all(HubSnapshot):
                whole.setdefault(part.snapshot, []).append(part)
            return next((p for p in reversed(whole.values()) if len(p) == p[0].parts), [])

        await self.until(lambda: bool(parts()))
        return parts()


class Agent(Reader):
    """One node's agent: one container takes one activation in its life.

    `answers` says what it does with an activation: `serve`, `accept`, `refuse`, `fail` or
    `nothing`. `served` has the lease of each notebook, `doubles` what must never come.
    """

    def __init__(self, broker: Broker, node: str) -> None:
        super().__init__(broker)
        self.node = node
        self.answers: Callable[[ActivateNotebook], str] = lambda _: "serve"
        self.served: dict[str, str] = {}
        self.doubles: list[ActivateNotebook] = []

    async def says(self, report: Report) -> None:
        await self.broker.publish(report, rabbitmq.report(report))

    def retired(self) -> set[str]:
        return {command.notebook for command in self.all(RetireNotebook)}

    async def react(self, message: Message) -> None:
        if isinstance(message, ActivateNotebook):
            await self._activate(message, self.answers(message))

    async def _activate(self, command: ActivateNotebook, how: str) -> None:
        about = at(self.node) | {
            "notebook": command.notebook,
            "lease": command.lease,
            "attempt": command.attempt,
        }
        if how == "refuse":
            return await self.says(RunRefused(**about, reason="storage", detail="no home"))
        if how == "refuse for good":
            return await self.says(RunRefused(**about, reason="seal", terminal=True))
        if how == "fail":
            return await self.says(RunFailed(**about, reason="timeout", detail="no answer"))
        if how in ("accept", "serve"):
            await self.says(accepted(command, self.node))
        if how == "serve":
            if self.served.setdefault(command.notebook, command.lease) != command.lease:
                self.doubles.append(command)
            await self.says(activated(command, self.node))


def accepted(command: ActivateNotebook, node: str) -> RunAccepted:
    return RunAccepted(
        **at(node), notebook=command.notebook, lease=command.lease, attempt=command.attempt
    )


def activated(command: ActivateNotebook, node: str) -> RunActivated:
    return RunActivated(
        **at(node),
        notebook=command.notebook,
        lease=command.lease,
        attempt=command.attempt,
        url=f"http://127.0.0.1:20000{command.prefix}",
        stages={"turn": 1.0, "mount": 2.0, "handover": 3.0, "serve": 4.0},
    )


class Quarantine(Reader):
    """Takes out what was put aside."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self._reasons: list[str] = []

    async def reasons(self, count: int) -> list[str]:
        """Why, of as many as that, sorted."""
        await self.until(lambda: len(self._reasons) >= count)
        return sorted(self._reasons)

    async def _receive(self, delivery: Delivery) -> None:
        await delivery.ack()
        async with self._news:
            self._reasons.append(str(delivery.headers["greenroom-reason"]))
            self._news.notify_all()
