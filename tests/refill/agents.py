"""An agent that answers commands by a script."""

from __future__ import annotations

import asyncio
from typing import Literal

from controlplane.clients.rabbitmq import Broker, Delivery, report
from controlplane.messages import (
    CreateNotebook,
    Held,
    Message,
    NodeHeartbeat,
    NodeHello,
    NodeInventory,
    NodeSurroundings,
    NotebookGone,
    Report,
    RetireNotebook,
    WarmupCreated,
    WarmupFailed,
    WarmupReady,
    decode,
)

NODES = ("a", "b")
Script = Literal["warms", "fails", "is_silent"]


class ScriptedAgent:
    """`script` says what becomes of creates; a retire is always obeyed."""

    def __init__(self, broker: Broker, node: str, *, epoch: int = 1) -> None:
        self.node = node
        self.epoch = epoch
        self.script: Script = "warms"
        self.creates: list[CreateNotebook] = []
        self.retired: list[str] = []
        self.told: list[NodeSurroundings] = []
        self._broker = broker
        self._seq = 0
        self._heard = asyncio.Condition()

    async def open(self) -> None:
        queue = await self._broker.declare_node(self.node)
        await self._broker.consume(queue, self._on, prefetch=16)

    def at(self) -> dict[str, object]:
        """What every report begins with."""
        self._seq += 1
        return {"node": self.node, "epoch": self.epoch, "seq": self._seq}

    def hello(self, *, places: int = 100, address: str = "127.0.0.1") -> NodeHello:
        return NodeHello(**self.at(), address=address, max_notebooks=places)  # type: ignore[arg-type]

    async def say(self, body: Report) -> None:
        await self._broker.publish(body, report(body))

    async def heartbeat(self, engine: str = "ok") -> None:
        await self.say(NodeHeartbeat.model_validate({**self.at(), "engine": engine}))

    async def inventory(self, held: dict[str, str]) -> None:
        """`held`: notebook id to state. It is complete."""
        await self.say(
            NodeInventory(
                **self.at(),  # type: ignore[arg-type]
                inventory=f"i{self._seq}",
                held=tuple(
                    Held.model_validate(
                        {"notebook": notebook, "pool": "lab", "state": state, "url": self._url()}
                    )
                    for notebook, state in held.items()
                ),
            )
        )

    async def warm(self, notebook: str) -> None:
        """Report this notebook created and ready."""
        of = {"notebook": notebook, "container": f"c-{notebook}"}
        await self.say(WarmupCreated(**self.at(), **of))  # type: ignore[arg-type]
        await self.say(WarmupReady(**self.at(), **of, url=self._url()))  # type: ignore[arg-type]

    async def heard(self, *, creates: int = 0, retired: int = 0, seconds: float = 90) -> None:
        """Wait until it has seen so many creates and retires."""

        def enough() -> bool:
            return len(self.creates) >= creates and len(self.retired) >= retired

        async with asyncio.timeout(seconds), self._heard:
            await self._heard.wait_for(enough)

    async def heard_around(self, count: int) -> NodeSurroundings:
        """The last word about what is around it, once it heard so many."""
        async with asyncio.timeout(90), self._heard:
            await self._heard.wait_for(lambda: len(self.told) >= count)
        return self.told[-1]

    async def _on(self, delivery: Delivery) -> None:
        command = decode(delivery.body).message
        async with self._heard:
            await self._obey(command)
            self._heard.notify_all()
        await delivery.ack()

    async def _obey(self, command: Message) -> None:
        if isinstance(command, CreateNotebook):
            self.creates.append(command)
            if self.script == "warms":
                await self.warm(command.notebook)
            elif self.script == "fails":
                failed = {"notebook": command.notebook, "reason": "exited", "exit_code": 1}
                told = {**self.at(), **failed, "detail": "it ended by itself"}
                await self.say(WarmupFailed.model_validate(told))
        elif isinstance(command, NodeSurroundings):
            self.told.append(command)
        elif isinstance(command, RetireNotebook):
            self.retired.append(command.notebook)
            await self.say(NotebookGone(**self.at(), notebook=command.notebook))  # type: ignore[arg-type]

    def _url(self) -> str:
        return "http://127.0.0.1:20000"
