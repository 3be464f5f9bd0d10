"""Nodes: what their agents said of them, and what liveness decided."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.clients.postgres import answers
from controlplane.clients.postgres.driver import Driver
from controlplane.clients.postgres.queries import query
from controlplane.messages import NodeHeartbeat, NodeHello, Report
from controlplane.model.phases import NodeState
from controlplane.model.rows import Node


class Nodes:
    """When a node was last seen is no decision: it is kept apart and never journaled."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def hello(self, report: NodeHello) -> Node:
        """A new node is ready; a known one takes the higher epoch. Never changes its state.

        With a new epoch every command of the node is due at once. A lower one changes nothing.
        """
        return answers.node(await self._driver.call("node_hello", report.model_dump_json()))

    async def heartbeat(self, report: NodeHeartbeat) -> None:
        """The node was seen now. An unknown node is left to its hello."""
        await self.heartbeats([report])

    async def heartbeats(self, reports: Sequence[NodeHeartbeat]) -> None:
        """Many in one transaction that nobody waits for on disk."""
        body = "[" + ",".join(report.model_dump_json() for report in reports) + "]"
        await self._driver.call("node_heartbeats", body)

    async def seen(self, report: Report) -> None:
        """Another report of the node is a sign of life too; the hubs that it cannot reach stay
        as its last heartbeat said."""
        await self._driver.call("node_seen", report.model_dump_json())

    async def move(self, node: str, state: NodeState, reason: str, version: int) -> Node | None:
        """Compare-and-set; None when somebody moved it since, or it is there already."""
        row = await self._driver.call("node_move", node, state.value, reason, version)
        return None if row is None else answers.node(row)

    async def list(self) -> list[Node]:
        """Every node by name."""
        return [answers.node(row) for row in await self._driver.rows(query("list_nodes"))]
