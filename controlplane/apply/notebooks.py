"""Orders to agents for notebooks that nobody holds: the row first, then what it implies.

An order that does not reach the broker is no loss: its row stays `creating` or `retiring`,
and the lease worker's sweep gives it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from controlplane import failpoints
from controlplane.apply.outbox import Outbox
from controlplane.apply.sending import Sending, send
from controlplane.clients import rabbitmq as routes
from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.decide.refill import Plan, Snapshot
from controlplane.errors import Unavailable
from controlplane.messages import CreateNotebook, RetireNotebook
from controlplane.model import Notebook, PoolSpec

# An order older than this is not executed any more: the sweep gives it anew.
ORDER_MS = 120_000

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Done:
    """The rows that carrying out a plan wrote."""

    created: tuple[Notebook, ...] = ()
    retired: tuple[Notebook, ...] = ()


def create_order(notebook: Notebook, *, spec: PoolSpec, spec_hash: str, epoch: int) -> Sending:
    """What a `creating` row implies."""
    command = CreateNotebook(
        notebook=notebook.notebook,
        pool=notebook.pool,
        revision=notebook.revision,
        spec_hash=spec_hash,
        spec=spec.container,
        epoch=epoch,
        budget_ms=ORDER_MS,
    )
    return Sending(body=command, route=routes.command(notebook.node), expires_ms=ORDER_MS)


def retire_order(notebook: str, node: str, *, reason: str) -> Sending:
    """What a `retiring` row implies, and what a notebook without a row gets."""
    # An agent obeys a retire of any epoch: it is always safe.
    command = RetireNotebook(notebook=notebook, epoch=0, reason=reason)
    return Sending(body=command, route=routes.command(node), expires_ms=ORDER_MS)


class NotebookEffects:
    """Makes side effects of what refill decided."""

    def __init__(self, postgres: Postgres, broker: Broker, outbox: Outbox) -> None:
        self._notebooks = postgres.notebooks
        self._broker = broker
        self._outbox = outbox

    async def apply(self, plan: Plan, snapshot: Snapshot, *, new_id: Callable[[], str]) -> Done:
        """Write what the plan says, then tell agents and listeners.

        A notebook that somebody took meanwhile is not retired. Raises `Conflict`, with
        nothing created, when another copy created since the snapshot; `Unavailable` when
        Postgres does not answer.
        """
        retired = await self._retire(plan)
        created = await self._create(plan, snapshot, new_id)
        return Done(created=tuple(created), retired=tuple(retired))

    async def order(self, orders: Sequence[Sending]) -> None:
        """Give orders; those that the broker does not take are left to the sweep."""
        try:
            await send(self._broker, orders)
        except Unavailable as error:
            log.warning("orders.left_to_sweep", count=len(orders), error=str(error))

    async def _retire(self, plan: Plan) -> list[Notebook]:
        by_reason: dict[str, list[str]] = {}
        for each in plan.retire:
            by_reason.setdefault(each.reason, []).append(each.notebook)
        retired: list[Notebook] = []
        for reason, ids in by_reason.items():
            moved = await self._notebooks.retire(ids, reason)
            failpoints.reach("refill.retire.committed")
            self._outbox.wake()
            await self.order([retire_order(n.notebook, n.node, reason=reason) for n in moved])
            retired += moved
        return retired

    async def _create(
        self, plan: Plan, snapshot: Snapshot, new_id: Callable[[], str]
    ) -> list[Notebook]:
        where = {new_id(): c.node for c in plan.create for _ in range(c.count)}
        if not where:
            return []
        pool, epochs = snapshot.pool, {n.node: n.epoch for n in snapshot.nodes}
        created = await self._notebooks.create(
            pool.name, pool.revision, where, stamp=snapshot.stamp
        )
        failpoints.reach("refill.create.committed")
        self._outbox.wake()
        await self.order(
            [
                create_order(n, spec=pool.spec, spec_hash=pool.spec_hash, epoch=epochs[n.node])
                for n in created
            ]
        )
        failpoints.reach("refill.create.ordered")
        return created
