"""A small world in Postgres: a pool, nodes, warm notebooks and people who ask."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from controlplane.clients.postgres import Granted, Postgres
from controlplane.messages import (
    LeaseRequest,
    NodeHello,
    RunAccepted,
    RunActivated,
    WarmupReady,
)
from controlplane.model import ContainerSpec, NodeState, NotebookPhase, PoolSpec
from controlplane.model.rows import Notebook

# Reports are numbered by one counter: each is later than all before it.
_seq = itertools.count(1)


def new_id() -> str:
    """An id without a time in it: which of two is newer is not for these tests to see."""
    return str(uuid.uuid4())


def spec(name: str = "demo", **changes: Any) -> PoolSpec:
    container = ContainerSpec(image=changes.pop("image", "demo:1"))
    return PoolSpec(**{"name": name, "container": container, "warm": 3} | changes)


def ask(user: str = "ada", **changes: Any) -> LeaseRequest:
    fields = {
        "lease": new_id(),
        "hub": "hub1",
        "hub_process": "hub1-a",
        "user": user,
        "server": "",
        "prefix": f"/user/{user}/",
        "pool": "demo",
        "budget_ms": 600_000,
        "sealed": "sealed-for-" + user,
    }
    return LeaseRequest(**fields | changes)


def at(node: str = "node1", *, epoch: int = 1) -> dict[str, Any]:
    return {"node": node, "epoch": epoch, "seq": next(_seq)}


async def node(postgres: Postgres, name: str = "node1", *, epoch: int = 1) -> None:
    await postgres.nodes.hello(
        NodeHello(**at(name, epoch=epoch), address="127.0.0.1", max_notebooks=50)
    )


async def lost(postgres: Postgres, name: str = "node1") -> None:
    """Liveness decided that this node is lost."""
    (row,) = [row for row in await postgres.nodes.list() if row.node == name]
    await postgres.nodes.move(name, NodeState.LOST, "test", row.version)


async def house(postgres: Postgres, *nodes: str, **changes: Any) -> None:
    """A pool `demo` and these nodes (`node1` when none is named)."""
    await postgres.pools.apply([spec(**changes)], remove_missing=False)
    for name in nodes or ("node1",):
        await node(postgres, name)


async def creating(postgres: Postgres, node: str = "node1", *, pool: str = "demo") -> str:
    snapshot = await postgres.pools.snapshot(pool)
    made = await postgres.notebooks.create(
        pool, snapshot.pool.revision, {new_id(): node}, stamp=snapshot.stamp
    )
    return made[0].notebook


async def warm(postgres: Postgres, node: str = "node1", *, pool: str = "demo") -> str:
    """The id of one more ready notebook."""
    notebook = await creating(postgres, node, pool=pool)
    await postgres.notebooks.ready(ready_report(notebook, node))
    return notebook


def ready_report(notebook: str, node: str = "node1") -> WarmupReady:
    return WarmupReady(**at(node), notebook=notebook, container="c1", url="http://127.0.0.1:20000")


def activated(granted: Granted, **changes: Any) -> RunActivated:
    assert granted.notebook is not None
    fields = at(granted.notebook.node) | {
        "notebook": granted.notebook.notebook,
        "lease": granted.lease.lease,
        "attempt": granted.lease.attempt,
        "url": "http://127.0.0.1:20001/user/ada/",
    }
    return RunActivated(**fields | changes)


async def serving(postgres: Postgres, user: str = "ada", **changes: Any) -> Granted:
    granted = await postgres.leases.request(ask(user, **changes))
    served = await postgres.leases.serve(activated(granted))
    assert served is not None
    return served


async def notebook(postgres: Postgres, id: str) -> Notebook | None:
    """The row while it is not gone."""
    return next((n for n in await postgres.notebooks.list() if n.notebook == id), None)


async def claimed(postgres: Postgres, user: str = "ada", *, spare: int = 0) -> Granted:
    """A claimed lease, and so many more ready notebooks."""
    await house(postgres)
    granted = await postgres.leases.request(ask(user), await warm(postgres))
    for _ in range(spare):
        await warm(postgres)
    return granted


def accepted(granted: Granted) -> RunAccepted:
    assert granted.notebook is not None
    return RunAccepted(
        **at(granted.notebook.node),
        notebook=granted.notebook.notebook,
        lease=granted.lease.lease,
        attempt=granted.lease.attempt,
    )


async def phase_of(postgres: Postgres, id: str | None) -> NotebookPhase:
    assert id is not None
    row = await notebook(postgres, id)
    return row.phase if row else NotebookPhase.GONE
