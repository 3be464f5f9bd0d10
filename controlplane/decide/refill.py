"""How many notebooks, where, and when to give up. Pure."""

from __future__ import annotations

from controlplane.decide.refill_snapshot import (
    Create,
    Failure,
    NodeView,
    Plan,
    Retire,
    Snapshot,
)

__all__ = ["Create", "Failure", "NodeView", "Plan", "Retire", "Snapshot"]
