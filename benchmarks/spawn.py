"""`scripts/bench spawn`: the same click on three hubs in turn, interleaved in one run."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks import hubs, machine, people, table
from benchmarks.hubs import KINDS, Hub
from benchmarks.people import Burst, middle, quantile
from scripts.stack.demo import Demo
from scripts.stack.places import CHECKOUT
from scripts.stack.up import warm_count

WARM_SECONDS = 900
# Forty kernels at once measure kernels; with few people they show what was pushed past ready.
KERNELS_UP_TO = 10


def main(arguments: Sequence[str]) -> int:
    told = _parse(arguments)
    kinds = tuple(told.hubs.split(","))
    spare = 4 if max(told.users) > 1 else 2
    with hubs.running(warm=max(told.users) + spare, kinds=kinds) as (stack, started):
        bursts = asyncio.run(_all(stack, started, users=told.users, runs=told.runs))
    path = table.write(CHECKOUT / told.out, bursts, _told(arguments))
    print(table.markdown(table.summary(bursts)))
    print(f"\n{path}")
    return 1 if any(b.failed for b in bursts) else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench spawn", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1], help="people at once")
    parser.add_argument("--runs", type=int, default=5, help="repetitions on each hub")
    parser.add_argument("--hubs", default=",".join(KINDS), help="which, comma-separated")
    parser.add_argument("--out", default=".greenroom/bench/out", help="directory of results")
    return parser.parse_args(arguments)


async def _all(
    stack: Demo, started: dict[str, Hub], *, users: Sequence[int], runs: int
) -> list[Burst]:
    bursts = []
    for count in users:
        for number in range(runs):
            # Another hub is first each time, so that none profits from its neighbour's wake.
            order = [list(started)[(at + number) % len(started)] for at in range(len(started))]
            for kind in order:
                for kernels in _with_kernels(kind, count):
                    hub = started[kind]
                    bursts.append(await _one(stack, hub, count=count, kernels=kernels))
                    _say(bursts[-1])
    return bursts


def _with_kernels(kind: str, count: int) -> tuple[bool, ...]:
    """Starts and their CPU are measured without kernels, what follows a start with them."""
    return (False, True) if count <= KERNELS_UP_TO and kind != "floor" else (False,)


async def _one(stack: Demo, hub: Hub, *, count: int, kernels: bool) -> Burst:
    # Letters and digits only: no spawner escapes them, so all mount the same directories.
    mark = secrets.token_hex(3)
    names = [f"p{mark}n{at}" for at in range(count)]
    hubs.homes(stack, names)
    if hub.kind == "greenroom":
        await wait_for(stack, count)
    await machine.quiet()
    seen = await people.burst(hub.kind, hub.url, stack.token, names, run=kernels)
    await people.leave(hub.url, stack.token, names)
    return seen


async def wait_for(stack: Demo, count: int) -> None:
    """Wait until there is one for everybody."""
    give_up = time.monotonic() + WARM_SECONDS
    while await asyncio.to_thread(warm_count, stack) < count:
        if time.monotonic() > give_up:
            raise TimeoutError(f"{count} notebooks were not warm within {WARM_SECONDS} s")
        await asyncio.sleep(1)


def _say(burst: Burst) -> None:
    ready = burst.ready()
    print(
        f"{burst.users:>4} x {burst.hub:<14} ready p50 {middle(ready):8.0f} ms  "
        f"p95 {quantile(ready, 0.95):8.0f} ms  result-ready {middle(burst.after_ready()):8.0f} ms  "
        f"CPU {burst.cpu_seconds:6.2f} s  failed {burst.failed}",
        flush=True,
    )


def _told(arguments: Sequence[str]) -> dict[str, object]:
    return {
        **machine.told(),
        "command": " ".join(["scripts/bench", "spawn", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
