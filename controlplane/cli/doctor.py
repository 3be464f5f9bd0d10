"""`greenroom doctor`: what of this machine would keep people from warm notebooks."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from controlplane import poolsfile
from controlplane.cli.out import Shape, console, say, show_json
from controlplane.cli.words import Output
from controlplane.doctor.finding import Finding, Level
from controlplane.doctor.rounds import findings
from controlplane.doctor.wanted import Wanted
from controlplane.settings import Settings, load

STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def doctor(  # noqa: PLR0913 each option of a command is an argument
    node: Annotated[bool, typer.Option("--node", help="this machine as a node")] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Postgres, RabbitMQ and Redis")
    ] = False,
    image: Annotated[str | None, typer.Option(help="this image; also used to try the node")] = None,
    hub: Annotated[
        list[str] | None, typer.Option(help="URL of a hub's API, tried from inside a container")
    ] = None,
    hub_config: Annotated[
        Path | None, typer.Option(help="a jupyterhub_config.py; it is run to be read")
    ] = None,
    hub_python: Annotated[str | None, typer.Option(help="the Python that runs that hub")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="the pools file: its images and storage")
    ] = None,
    output: Output = Shape.TABLE,
) -> None:
    """Look at this machine; each line is ok, warn or fail, with what fixes it.

    Without options: everything that this machine's settings allow. Exit code 1 when
    something fails. What is tried is undone: containers, networks, queues, keys.
    """
    settings = load()
    wanted = Wanted(
        control=control,
        node=node,
        image=image,
        hubs=tuple(hub or ()),
        hub_config=hub_config,
        hub_python=hub_python,
        pools=None if file is None else poolsfile.load(file).pools,
    )
    if not (control or wanted.engine or hub_config):
        wanted = allowed(settings, wanted)
    try:
        found = asyncio.run(_look(settings, wanted, output))
    except asyncio.CancelledError:
        say("stopped; what was tried is undone")
        raise typer.Exit(128 + signal.SIGTERM) from None
    if output is Shape.JSON:
        show_json({"ok": not _failed(found), "checks": [asdict(each) for each in found]})
    else:
        say(_summary(found))
    if _failed(found):
        raise typer.Exit(1)


def allowed(settings: Settings, wanted: Wanted) -> Wanted:
    """What this machine is by its settings: both where they say nothing."""
    is_node = settings.node.address is not None
    is_control = bool({"postgres_url", "redis_url"} & settings.model_fields_set)
    neither = not is_node and not is_control
    return Wanted(
        control=is_control or neither,
        node=is_node or neither,
        pools=wanted.pools,
        hub_python=wanted.hub_python,
    )


async def _look(settings: Settings, wanted: Wanted, output: Shape) -> list[Finding]:
    task = asyncio.current_task()
    assert task is not None
    # What is tried is undone when we are told to stop, too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    found = []
    async for each in findings(settings, wanted):
        found.append(each)
        if output is Shape.TABLE:
            _print(each)
    return found


def _print(finding: Finding) -> None:
    if sys.stdout.isatty():
        console().print(f"{finding.level.value:<4}", style=STYLES[finding.level], end="  ")
    else:
        sys.stdout.write(f"{finding.level.value:<4}  ")
    sys.stdout.write(f"{line(finding)}\n")
    # Looks take seconds: each is shown when it is there, in a pipe too.
    sys.stdout.flush()


def line(finding: Finding) -> str:
    """What was seen, and behind an arrow what fixes it; printable, whatever was seen."""
    text = f"{finding.check}: {finding.seen}"
    if finding.fix:
        text += f"  ->  {finding.fix}"
    return "".join(c if c.isprintable() else "?" for c in text)


def _failed(found: Sequence[Finding]) -> bool:
    return any(each.level is Level.FAIL for each in found)


def _summary(found: Sequence[Finding]) -> str:
    counts = {level: sum(each.level is level for each in found) for level in Level}
    return ", ".join(f"{count} {level.value}" for level, count in counts.items())
