"""`python -m benchmarks.simulated.resting`: refill's ears without its plans.

Reports of notebooks that are gone are written down, as always; nothing new is created. What a
lease costs by itself is measured beside this one.
"""

from __future__ import annotations

import asyncio
import sys

from controlplane import telemetry
from controlplane.settings import load
from workers import process, refill
from workers.process import Work
from workers.tools import Tools


async def main() -> None:
    settings = load()
    telemetry.configure(settings.log_format, settings.log_level)
    tools = await Tools.open("resting", settings)
    try:
        await process.run("resting", settings, tools.broker, Work(lanes=refill.lanes(tools)))
    finally:
        await tools.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
