"""What refill does with what it hears: write it down, then look at the pools concerned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import structlog

from controlplane.apply.notebooks import NotebookEffects, retire_order
from controlplane.apply.outbox import Outbox
from controlplane.clients.postgres import Postgres
from controlplane.messages import (
    Envelope,
    Moved,
    NodeInventory,
    NotebookGone,
    WarmupCreated,
    WarmupFailed,
    WarmupReady,
)
from controlplane.model import NodeState, Notebook
from workers.refill.planner import Planner

log = structlog.get_logger()


class Reports:
    """Handlers of refill's lane. Each may be called again with the same message."""

    def __init__(
        self,
        postgres: Postgres,
        effects: NotebookEffects,
        outbox: Outbox,
        planner: Planner,
    ) -> None:
        self._notebooks = postgres.notebooks
        self._effects = effects
        self._outbox = outbox
        self._planner = planner

    async def created(self, envelope: Envelope) -> None:
        """A container runs and warms up."""
        self._moved([await self._notebooks.created(cast(WarmupCreated, envelope.message))])

    async def ready(self, envelope: Envelope) -> None:
        """One more is warm."""
        report = cast(WarmupReady, envelope.message)
        notebook = await self._notebooks.ready(report)
        self._moved([notebook])
        if notebook is not None:
            log.info(
                "notebook.ready",
                notebook=report.notebook,
                node=report.node,
                pool=notebook.pool,
                warm_ms=round(report.warm_ms),
                cpu_ms=round(report.cpu_ms),
            )

    async def failed(self, envelope: Envelope) -> None:
        """One did not become warm, or died while it was."""
        report = cast(WarmupFailed, envelope.message)
        notebook = await self._notebooks.failed(report)
        self._moved([notebook])
        if notebook is not None:
            log.warning(
                "notebook.failed",
                notebook=report.notebook,
                node=report.node,
                pool=notebook.pool,
                reason=report.reason,
                detail=report.detail,
                exit_code=report.exit_code,
            )

    async def gone(self, envelope: Envelope) -> None:
        """A place is free again."""
        self._moved([await self._notebooks.gone(cast(NotebookGone, envelope.message))])

    async def inventory(self, envelope: Envelope) -> None:
        """All that a node holds: heals lost reports, and finds what no row knows."""
        part = cast(NodeInventory, envelope.message)
        self._moved(await self._notebooks.inventory(part))
        if unknown := await self._notebooks.unknown_in_use(part):
            # A restored or emptied Postgres looks like this: never a reason to end a session.
            log.error("notebook.unknown_in_use", node=part.node, notebooks=unknown)
        strangers = await self._notebooks.strangers(part)
        if strangers:
            log.warning("notebook.strangers", node=part.node, notebooks=strangers)
            await self._effects.order(
                [retire_order(each, part.node, reason="stranger") for each in strangers]
            )

    async def moved(self, envelope: Envelope) -> None:
        """A row moved: a hint which pools to look at."""
        event = cast(Moved, envelope.message)
        if event.entity == "node":
            if event.phase == NodeState.LOST:
                self._moved(await self._notebooks.lose(event.key))
            await self._planner.look_at_all()
        else:
            self._planner.look_at(event.pool or event.key)

    def _moved(self, notebooks: Iterable[Notebook | None]) -> None:
        pools = {n.pool for n in notebooks if n is not None}
        for pool in pools:
            self._planner.look_at(pool)
        if pools:
            self._outbox.wake()
