"""A worker process for tests: `python -m tests.working.child main|suspect DIARY RELEASE`.

It handles what node1 is told. `poison` ends the process at once, as a crash in a C library
would; `slow` is finished when the file RELEASE is there. Each step is a line in DIARY.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from controlplane import telemetry
from controlplane.clients.rabbitmq import Broker
from controlplane.messages import Envelope, RetireNotebook
from controlplane.settings import load
from workers import process
from workers.loop import Lane
from workers.suspect import suspect_lane

POISONED = 9


async def main(kind: str, diary: Path, release: Path) -> None:
    def write(line: str) -> None:
        with diary.open("a") as file:
            file.write(line + "\n")

    async def handle(envelope: Envelope) -> None:
        assert isinstance(envelope.message, RetireNotebook)
        reason = envelope.message.reason
        if reason == "poison":
            write(f"{kind} poisoned")
            os._exit(POISONED)
        if reason == "slow":
            write("slow begun")
            while not release.exists():  # noqa: ASYNC110, ASYNC240 another process makes it
                await asyncio.sleep(0.02)
        write(reason)

    settings = load()
    lane = Lane(queue="node.node1", handlers={RetireNotebook: handle}, seconds=60)
    broker = Broker.start(
        settings.amqp_url.get_secret_value(), installation=settings.installation, source=kind
    )
    lanes = [lane] if kind == "main" else [suspect_lane([lane])]
    try:
        await process.run(kind, settings, broker, process.Work(lanes=lanes))
    finally:
        await broker.close()


if __name__ == "__main__":
    telemetry.configure("json", "info")
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
