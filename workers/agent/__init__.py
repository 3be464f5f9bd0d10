"""The agent: one per node, beside its Docker engine. Docker is the truth of what runs here.

    command ─▶ desk ─▶ warmup | activation | retirement ─▶ reports
    engine's stream, own list ─▶ watch ─▶ what became of a container ─▶ reports

What it decided is in its journal before it is acknowledged; everything that runs is adopted
when the agent starts again. It reaches neither Postgres nor Redis and touches no container,
network or mount that does not carry its installation's and its node's label.
"""

from __future__ import annotations

from workers.agent.service import main

__all__ = ["main"]
