"""Where commands arrive: each is looked at, begun or answered, and then acknowledged.

A command is never stored and comes again until its row moves, so every one of them is safe
to hear twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from controlplane import failpoints
from controlplane.errors import BadMessage
from controlplane.messages import (
    ActivateNotebook,
    CreateNotebook,
    Message,
    NodeSurroundings,
    NotebookGone,
    RetireNotebook,
    WarmupFailed,
)
from workers.agent.activation import Activations
from workers.agent.journal import Entry
from workers.agent.node import Node
from workers.agent.registry import Item
from workers.agent.retirement import Retirements
from workers.agent.warmup import Warmups
from workers.agent.watch import Watch


class Desk:
    """Takes one agent's commands."""

    def __init__(
        self,
        node: Node,
        *,
        warmups: Warmups,
        activations: Activations,
        retirements: Retirements,
        watch: Watch,
        look_around: Callable[[NodeSurroundings], Awaitable[None]],
    ) -> None:
        self._node = node
        self._warmups = warmups
        self._activations = activations
        self._retirements = retirements
        self._watch = watch
        self._look_around = look_around
        self._log = structlog.get_logger("agent.desk")

    async def take(self, command: Message) -> None:
        """Return when the command may be acknowledged. `BadMessage` for what is no command."""
        takers: dict[type[Message], Callable[..., Awaitable[None]]] = {
            CreateNotebook: self._create,
            ActivateNotebook: self._activate,
            RetireNotebook: self._retire,
            NodeSurroundings: self._look_around,
        }
        taker = takers.get(type(command))
        if taker is None:
            raise BadMessage(f"{command.TYPE} is no command", reason="unknown")
        await taker(command)

    async def _retire(self, command: RetireNotebook) -> None:
        """Obeyed whatever its epoch: removing is always safe."""
        self._retirements.start(command)

    async def _activate(self, command: ActivateNotebook) -> None:
        item = self._node.registry.get(command.notebook)
        if item is not None and item.entry.phase == "exited" and item.claimed_by == command.lease:
            return self._watch.tell(item)
        await self._activations.accept(command)

    async def _create(self, command: CreateNotebook) -> None:
        item = self._node.registry.get(command.notebook)
        if item is not None:
            return self._what_became_of(item)
        if self._node.registry.is_gone(command.notebook):
            return self._node.reports.post(NotebookGone, notebook=command.notebook)
        if command.epoch != self._node.reports.epoch:
            # Its row is still `creating`: it is ordered again with the epoch of this start.
            self._log.info("create.stale_epoch", notebook=command.notebook, epoch=command.epoch)
            return
        if len(self._node.registry) >= self._node.settings.node.max_notebooks:
            return self._refuse(command, "node_full", "node.max_notebooks are here already")
        entry = Entry(
            notebook=command.notebook,
            pool=command.pool,
            revision=command.revision,
            spec_hash=command.spec_hash,
            spec=command.spec,
            phase="creating",
            budget_ms=command.budget_ms,
        )
        try:
            item = await self._node.registry.add(entry)
        except OSError as error:
            return self._refuse(command, "journal", f"the journal cannot be written: {error}")
        failpoints.reach("agent.create.journaled")
        self.warm(item)

    def warm(self, item: Item) -> None:
        """Begin a warm-up, or go on with one of an earlier agent."""
        work = self._warmups.run(item)
        item.work = self._node.tasks.create_task(work, name=f"warmup {item.entry.notebook}")

    def _what_became_of(self, item: Item) -> None:
        if item.retiring:
            return
        match item.entry.phase:
            case "creating" | "warming":
                if item.entry.container:
                    self._warmups.tell_created(item)
            case "ready" | "accepted" | "serving":
                self._warmups.tell_ready(item)
            case "failed":
                self._warmups.tell_failed(item)
            case "exited":
                self._watch.tell(item)
            case "removing":
                pass

    def _refuse(self, command: CreateNotebook, reason: str, detail: str) -> None:
        notebook = command.notebook
        self._log.warning("create.refused", notebook=notebook, reason=reason)
        self._node.reports.post(WarmupFailed, notebook=notebook, reason=reason, detail=detail)
