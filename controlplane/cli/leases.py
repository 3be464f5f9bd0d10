"""`greenroom leases`: who has what, and how it came to be so."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from controlplane.cli.doors import with_postgres
from controlplane.cli.out import Shape, show
from controlplane.cli.words import NotFound, Output
from controlplane.clients.postgres import Postgres
from controlplane.model import Lease

app = typer.Typer(
    help="Leases: people's claims, from the request to the end.", no_args_is_help=True
)

COLUMNS = ["lease", "hub", "user", "server", "pool", "phase", "attempt", "node", "phase_at"]
_SHOWN_OF_A_CHANGE = 100


@app.command("list")
def list_leases(
    pool: Annotated[str | None, typer.Option("--pool", "-p", help="only this pool")] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="also those that ended")] = False,
    output: Output = Shape.TABLE,
) -> None:
    """Leases that have not ended, oldest first."""

    async def call(postgres: Postgres) -> list[Lease]:
        return await postgres.leases.list(pool=pool, open_only=not all_)

    columns = [*COLUMNS, "reason", "detail"] if all_ else COLUMNS
    show([_row(lease) for lease in with_postgres(call)], columns, output, empty="no lease")


@app.command()
def trace(
    lease: Annotated[str, typer.Argument(help="the lease's id")], output: Output = Shape.TABLE
) -> None:
    """Everything that was decided for this lease and its notebooks, in order."""
    wanted = _id(lease)

    async def call(postgres: Postgres) -> list[dict[str, Any]]:
        return await postgres.leases.trace(wanted)

    events = with_postgres(call)
    if not events:
        raise NotFound(f"no event names a lease {wanted}: it never was, or is past the retention")
    if output is Shape.TABLE:
        events = [event | {"change": _short(event.get("change"))} for event in events]
    show(events, ["at", "entity", "key", "phase", "change"], output, empty="")


def _row(lease: Lease) -> dict[str, Any]:
    # Never the seal, not even for an operator.
    return {key: value for key, value in asdict(lease).items() if key != "sealed"}


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise NotFound(f"{text!r} is no lease id: it looks like a UUID") from None


def _short(change: Any) -> str:
    text = json.dumps(change, separators=(",", ":"), default=str) if change else ""
    return text if len(text) <= _SHOWN_OF_A_CHANGE else text[: _SHOWN_OF_A_CHANGE - 3] + "..."
