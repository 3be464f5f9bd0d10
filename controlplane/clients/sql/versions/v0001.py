"""Tables, moves as functions, the journal."""

from __future__ import annotations

from controlplane.clients.postgres.scripts import run

revision = "0001"
down_revision = None

PARTS = (
    "tables",
    "triggers",
    "claims",
    "limits",
    "requests",
    "attempts",
    "notebooks",
    "nodes",
    "pools",
    "hubs",
    "sweep",
    "retention",
    "plans",
)


def upgrade() -> None:
    for part in PARTS:
        run(f"v0001/{part}.sql")
