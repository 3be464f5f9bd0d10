"""`greenroom nodes`: the hosts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer

from controlplane.cli.doors import with_postgres
from controlplane.cli.out import Shape, show
from controlplane.cli.words import Output
from controlplane.clients.postgres import Postgres
from controlplane.model import Node, NotebookPhase

app = typer.Typer(help="Nodes: hosts with an agent.", no_args_is_help=True)

COLUMNS = ["node", "state", "address", "notebooks", "max_notebooks", "leased", "seen_s", "reason"]


@app.command("list")
def list_nodes(output: Output = Shape.TABLE) -> None:
    """Every node with its state and how full it is."""
    found = with_postgres(rows)
    show(found, COLUMNS, output, empty="no node yet: start an agent, `python -m workers agent`")


def _reason(node: Node) -> str:
    """Why it is where it is, and to whom it is not offered; the agent's log says why that is."""
    cut_off = ", ".join(node.unreachable_hubs)
    said = [node.reason, f"its notebooks do not reach {cut_off}" if cut_off else ""]
    return "; ".join(each for each in said if each)


async def rows(postgres: Postgres) -> list[dict[str, Any]]:
    """One row for each node; see COLUMNS. `seen_s` is seconds since it was last heard."""
    now = await postgres.now()
    notebooks = [n for n in await postgres.notebooks.list() if n.phase is not NotebookPhase.LOST]
    held = Counter(n.node for n in notebooks)
    leased = Counter(n.node for n in notebooks if n.phase is NotebookPhase.LEASED)
    return [
        {
            "node": node.node,
            "state": node.state.value,
            "address": node.address,
            "notebooks": held[node.node],
            "max_notebooks": node.max_notebooks,
            "leased": leased[node.node],
            "seen_s": round(max(0.0, (now - node.last_seen).total_seconds()), 1),
            "last_seen": node.last_seen,
            "epoch": node.epoch,
            "reason": _reason(node),
            "unreachable_hubs": list(node.unreachable_hubs),
        }
        for node in await postgres.nodes.list()
    ]
