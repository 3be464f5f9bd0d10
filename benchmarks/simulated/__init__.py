"""Nodes without Docker: the real agent on an engine of dictionaries, for thousands of notebooks.

engine     `Engine` in memory; its containers are simulated notebooks
notebook   the container's side of docs/container.md, and `<prefix>api`
ledger     what the notebooks themselves say of their activations
__main__   `python -m benchmarks.simulated`: many agents in one process, over a real broker

What is real: the agent's code, its journal and its fsyncs, its mounts, sockets and probes.
What is not: the containers, so nothing is imported and nothing is warmed up for seconds.
"""

from __future__ import annotations

from benchmarks.simulated.engine import SimulatedEngine
from benchmarks.simulated.ledger import Ledger

__all__ = ["Ledger", "SimulatedEngine"]
