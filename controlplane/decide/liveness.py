"""Which nodes can be offered. Pure.

Silence makes a node suspect, which ends nothing: it is not offered, and comes back with its
next inventory. When over half the nodes fall silent at once, whoever watches is blind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controlplane.model.phases import NodeState
from controlplane.model.rows import Node

# Three heartbeats of 2 s.
SILENT_AFTER = timedelta(seconds=6)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A node's next state; holds only for the version that was looked at."""

    node: str
    state: NodeState
    reason: str
    version: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`alarm` is a sentence for people, empty when nothing is wrong."""

    moves: tuple[Move, ...] = ()
    alarm: str = ""


def plan(nodes: Sequence[Node], now: datetime, *, watching_since: datetime) -> Plan:
    """Who is suspect now.

    `watching_since` is when the watcher began to hear reports without a gap: what was said
    before that may still be on its way, so silence is counted from then on. Nodes that are
    cordoned or draining keep their state: they are not offered anyway.
    """
    watched = [n for n in nodes if n.state is NodeState.READY]
    silent = [n for n in watched if now - max(n.last_seen, watching_since) >= SILENT_AFTER]
    if 2 * len(silent) > len(watched):
        names = ", ".join(sorted(n.node for n in silent))
        return Plan(
            alarm=f"{len(silent)} of {len(watched)} nodes fell silent at once ({names}): "
            "nothing is changed; look at the broker and at the network before the nodes"
        )
    return Plan(moves=tuple(_suspect(n, now) for n in silent))


def recovery(node: Node, *, epoch: int) -> Move | None:
    """What a complete inventory by an agent of this epoch changes, just after a sign of life."""
    if node.state is not NodeState.SUSPECT or epoch != node.epoch:
        return None
    return Move(
        node=node.node,
        state=NodeState.READY,
        reason="heartbeat and inventory are back",
        version=node.version,
    )


def _suspect(node: Node, now: datetime) -> Move:
    silence = (now - node.last_seen).total_seconds()
    return Move(
        node=node.node,
        state=NodeState.SUSPECT,
        reason=f"silent for {silence:.0f} s",
        version=node.version,
    )
