"""`scripts/bench deaths`: how soon a hub knows that a notebook in use died."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from statistics import median

from benchmarks import hubs
from scripts.stack import commands, proof
from scripts.stack.demo import Demo

LOOK_EVERY_SECONDS = 0.02
DEADLINE_SECONDS = 30.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench deaths", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="notebooks that are killed")
    told = parser.parse_args(arguments)
    with hubs.running(warm=told.times, kinds=("greenroom",)) as (stack, running):
        hubs.homes(stack, people := [f"dying{n}" for n in range(told.times)])
        found = asyncio.run(_measure(stack, running["greenroom"].url, people))
    print(json.dumps(found, indent=1))
    return 0


async def _measure(stack: Demo, url: str, people: Sequence[str]) -> dict[str, object]:
    async with proof.visiting(stack.token) as session:
        took = [await _die(stack, proof.Visit(session, url, person, "")) for person in people]
    return {
        "milliseconds_until_the_hub_knew": sorted(took),
        "median": median(took),
        "longest": max(took),
    }


async def _die(stack: Demo, visit: proof.Visit) -> float:
    """Start, kill the container, and wait until the hub shows no such server: milliseconds."""
    await visit.make_user()
    await visit.click()
    await visit.follow()
    container = await asyncio.to_thread(_container, stack, visit.user)
    clock = proof.Stopwatch()
    await asyncio.to_thread(_docker, stack, "kill", container)
    give_up = time.monotonic() + DEADLINE_SECONDS
    while visit.server in await visit.servers():
        if time.monotonic() > give_up:
            raise TimeoutError(f"the hub shows a dead server after {DEADLINE_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return clock()


def _container(stack: Demo, user: str) -> str:
    """The container of the notebook that serves this person."""
    told = commands.read(
        [stack.environment.program("greenroom"), "leases", "list", "-o", "json"],
        environment=stack.settings(),
    )
    (notebook,) = [lease["notebook"] for lease in json.loads(told or "[]") if lease["user"] == user]
    return _docker(stack, "ps", "-q", "--filter", f"label=greenroom.notebook={notebook}").strip()


def _docker(stack: Demo, *words: str) -> str:
    return commands.read(["docker", "-H", stack.docker_host, *words]) or ""
