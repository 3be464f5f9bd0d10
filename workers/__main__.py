"""`python -m workers agent|lease|refill|liveness|suspect`: one worker process."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from typing import Any

import structlog

from controlplane import failpoints, telemetry
from controlplane.errors import BadSettings
from controlplane.settings import Settings, load

NAMES = ("agent", "lease", "refill", "liveness", "suspect")
USAGE = f"usage: python -m workers {'|'.join(NAMES)}\n"

log = structlog.get_logger()


def main(arguments: list[str]) -> int:
    """Exit codes: 0 stopped when told to, 1 died, 2 wrong words or settings."""
    if len(arguments) != 1 or arguments[0] not in NAMES:
        sys.stderr.write(USAGE)
        return 2
    (name,) = arguments
    try:
        failpoints.arm(os.environ)
        settings = load()
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    telemetry.configure(settings.log_format, settings.log_level)
    structlog.contextvars.bind_contextvars(worker=name)
    try:
        asyncio.run(_work(name, settings))
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    except BaseException:
        log.exception("process.died")
        return 1
    return 0


async def _work(name: str, settings: Settings) -> None:
    # Only the room that runs is imported: an agent's host has neither Postgres' nor Redis' driver.
    room = importlib.import_module(f"workers.{name}")
    if hasattr(room, "main"):
        return await room.main(settings)  # type: ignore[no-any-return] # rooms promise a coroutine
    process = importlib.import_module("workers.process")
    tools = await importlib.import_module("workers.tools").Tools.open(name, settings)
    try:
        await process.run(name, settings, tools.broker, _of(room, tools, process))
    finally:
        await tools.close()


def _of(room: Any, tools: Any, process: Any) -> Any:
    """The room's `work(tools)`, or its lanes and ticks where they share nothing."""
    if hasattr(room, "work"):
        return room.work(tools)
    return process.Work(lanes=room.lanes(tools), ticks=room.ticks(tools))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
