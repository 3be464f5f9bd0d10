"""`python -m benchmarks.simulated --first N --last M`: the agents of these nodes, one process.

Settings come from the environment as for `python -m workers agent`; each node has its own
name, its own loopback address and its own directory below GREENROOM_NODE__STATE_DIR. Started
in a mount namespace of its own (`unshare --mount`), so that thousands of mounts of slots are
seen by nobody else and go with the process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.simulated.apart import Apart
from benchmarks.simulated.engine import SimulatedEngine
from benchmarks.simulated.ledger import Ledger
from controlplane import telemetry
from controlplane.errors import BadSettings, Retry
from controlplane.settings import NodeSettings, Settings, load
from workers.agent.service import Service
from workers.process import Task, Tick

IMAGE = "simulated"
# A port is not free again before its last connection's minute in TIME_WAIT is over.
FIRST_PORT, LAST_PORT = 2_000, 65_000
OPEN_FILES = 131_072


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated", description=__doc__)
    parser.add_argument("--first", type=int, required=True, help="the first node's number")
    parser.add_argument("--last", type=int, required=True, help="the last node's number")
    parser.add_argument("--ledger", type=Path, required=True, help="what notebooks say, as JSON")
    told = parser.parse_args(arguments)
    # Every notebook costs two: its socket and its port.
    _allow_open_files()
    # Without a PATH there is no iptables: no rule of this machine is touched.
    os.environ["PATH"] = ""
    try:
        settings = load()
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    telemetry.configure(settings.log_format, settings.log_level)
    ledger = Ledger(told.ledger)
    try:
        asyncio.run(_live(settings, range(told.first, told.last + 1), ledger))
    finally:
        ledger.close()
    return 0


def node_settings(settings: Settings, number: int) -> Settings:
    """The settings of one simulated node: 127.77.x.y is its own address on any Linux."""
    of_all = settings.node.model_dump()
    mine = {
        "name": f"node{number}",
        "address": f"127.77.{number // 250}.{number % 250 + 1}",
        "first_port": FIRST_PORT,
        "last_port": LAST_PORT,
        "state_dir": settings.node_state_dir / f"node{number}",
    }
    return settings.model_copy(update={"node": NodeSettings.model_validate({**of_all, **mine})})


async def _live(settings: Settings, numbers: range, ledger: Ledger) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    apart = Apart()
    apart.open()
    engines = (SimulatedEngine((IMAGE,), ledger=ledger, apart=apart) for _ in numbers)
    nodes = [
        asyncio.create_task(_node(node_settings(settings, number), engine))
        for number, engine in zip(numbers, engines, strict=True)
    ]
    told = asyncio.create_task(stopped.wait())
    try:
        # A node that dies takes the process with it: a benchmark must not go on without.
        done, _ = await asyncio.wait([*nodes, told], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*nodes, told):
            task.cancel()
        await asyncio.gather(*nodes, told, return_exceptions=True)
        apart.close()


async def _node(settings: Settings, engine: SimulatedEngine) -> None:
    service = Service(settings, engine)
    work = service.work()
    try:
        async with asyncio.TaskGroup() as tasks:
            for task in work.tasks:
                tasks.create_task(_run(task))
            for tick in work.ticks:
                tasks.create_task(_repeat(tick))
    finally:
        await service.broker.close()


async def _run(task: Task) -> None:
    await task.run()


async def _repeat(tick: Tick) -> None:
    """As `workers.process` does it, without a door and a canary for each of a hundred nodes."""
    while True:
        try:
            await tick.call()
        except Retry as error:
            sys.stderr.write(f"{tick.name}: {error}\n")
        await asyncio.sleep(tick.every_seconds)


def _allow_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, max(hard, OPEN_FILES)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
