"""`greenroom quarantine` and `greenroom topology`: what is in RabbitMQ."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from controlplane import settings
from controlplane.cli.doors import with_broker
from controlplane.cli.out import Shape, say, show
from controlplane.cli.words import NotFound, Output
from controlplane.clients.rabbitmq import Broker, Quarantined, permissions

app = typer.Typer(help="Messages that nobody could handle.", no_args_is_help=True)
topology = typer.Typer(help="Exchanges and queues in RabbitMQ.", no_args_is_help=True)

COLUMNS = ["time", "queue", "type", "reason", "bytes", "id", "detail"]


@app.callback()
def _quarantine() -> None:
    """Messages that nobody could handle."""


@topology.callback()
def _topology() -> None:
    """Exchanges and queues in RabbitMQ."""


@app.command("list")
def list_quarantined(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="at most")] = 100,
    output: Output = Shape.TABLE,
) -> None:
    """The oldest messages in quarantine, with the reason; they stay there."""

    async def call(broker: Broker) -> list[Quarantined]:
        await broker.declare()
        return await broker.quarantined(limit)

    rows = [asdict(message) for message in with_broker(call)]
    show(rows, COLUMNS, output, empty="nothing is in quarantine")


@app.command()
def replay(
    message: Annotated[str, typer.Argument(metavar="ID", help="as `quarantine list` shows it")],
) -> None:
    """Send a message to the queue it came from again, once what it met is mended.

    A message of which a seal or the end was cut out cannot be used again and stays.
    """

    async def call(broker: Broker) -> bool:
        await broker.declare()
        return await broker.replay(message)

    if not with_broker(call):
        raise NotFound(f"no message {message} is in quarantine")
    say(f"{message} is in its queue again; if that fails too, `quarantine list` shows it anew")


@topology.command()
def apply() -> None:
    """Declare every shared exchange and queue; again, it changes nothing."""

    async def call(broker: Broker) -> None:
        await broker.declare()

    with_broker(call)
    say("exchanges and queues are there")


@topology.command("permissions")
def print_permissions(
    hub: Annotated[str, typer.Option(help="The login that hubs use.")] = "greenroom-hub",
) -> None:
    """The lines for `rabbitmqctl` that give each login what it needs and no more."""
    given = settings.load()
    broker = urlsplit(given.amqp_url.get_secret_value())
    vhost = unquote(broker.path.removeprefix("/")) or "/"
    login = unquote(broker.username or "greenroom")
    lines = [
        permissions.inner(given.installation).command(login, vhost),
        permissions.hub(given.installation).command(hub, vhost),
    ]
    sys.stdout.write("\n".join([*lines, ""]))
