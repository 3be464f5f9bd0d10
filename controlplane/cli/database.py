"""`greenroom db`: the schema, and the index that follows from it."""

from __future__ import annotations

import asyncio

import typer

from controlplane.apply import index
from controlplane.cli.doors import open_index, open_postgres
from controlplane.cli.out import Shape, say, show, show_json
from controlplane.cli.words import Output
from controlplane.clients.postgres import migrate
from controlplane.settings import Settings, load

app = typer.Typer(help="The schema in Postgres and the index in Redis.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the schema to this version; again, it changes nothing."""
    url = load().postgres_url.get_secret_value()
    before = migrate.status(url)
    after = migrate.upgrade(url)
    if before.up_to_date:
        say(f"the schema is at {after.current}, the newest: nothing to do")
    else:
        say(f"the schema is now at {after.current} (was {before.current or 'empty'})")


@app.command()
def status(output: Output = Shape.TABLE) -> None:
    """How far the schema is. Exit code 1 when `greenroom db upgrade` is needed."""
    found = migrate.status(load().postgres_url.get_secret_value())
    row = {"current": found.current, "newest": found.newest, "up_to_date": found.up_to_date}
    if output is Shape.JSON:
        show_json(row)
    else:
        show([row], ["current", "newest", "up_to_date"], output, empty="")
    if not found.up_to_date:
        say("next: greenroom db upgrade")
        raise typer.Exit(1)


@app.command("rebuild-index")
def rebuild_index(output: Output = Shape.TABLE) -> None:
    """Make Redis hold exactly what Postgres says is ready; safe at any moment."""
    counted = asyncio.run(_rebuild(load()))
    rows = [{"pool": pool, "ready": ready} for pool, ready in sorted(counted.items())]
    show(rows, ["pool", "ready"], output, empty="the index is rebuilt; nothing is ready")


async def _rebuild(settings: Settings) -> dict[str, int]:
    postgres = await open_postgres(settings)
    redis = await open_index(settings)
    try:
        return await index.rebuild(postgres, redis)
    finally:
        await redis.close()
        await postgres.close()
