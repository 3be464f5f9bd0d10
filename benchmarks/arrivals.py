"""People who come one by one, as people do, stay a while and leave, with refill beside them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks import bursts, cpu, machine
from benchmarks.bursts import Theatre
from benchmarks.people import Crowd, Seen
from benchmarks.runs import Run
from benchmarks.schedule import Step
from benchmarks.stock import followed
from scripts.stack.proof import Stopwatch

# The scene: half of what this machine can refill.
SHARE = 0.5
FOLLOW_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Seconds from the scene's beginning, and how long this person stays once served."""

    at: float
    stays: float


def arrivals(*, per_second: float, seconds: float, stay: float, seed: int) -> list[Arrival]:
    """A Poisson process: gaps and stays are exponential, the same for the same seed."""
    chance = random.Random(seed)
    found, at = [], chance.expovariate(per_second)
    while at < seconds:
        found.append(Arrival(at=at, stays=chance.expovariate(1 / stay)))
        at += chance.expovariate(per_second)
    return found


async def capacity(theatre: Theatre, step: Step) -> float:
    """Warm-ups per second that this machine makes when nobody comes: target to full, once."""
    await theatre.resize(0)
    since = await theatre.stock.now()
    await theatre.resize(step.warm)
    return await theatre.stock.warmed_per_second(since)


async def poisson(
    theatre: Theatre, step: Step, *, seconds: float, stay: float, seed: int, every: float | None
) -> Run:
    """Arrivals every `every` seconds at the mean, or at half of the measured capacity."""
    can = await capacity(theatre, step)
    per_second = 1 / every if every else SHARE * can
    coming = arrivals(per_second=per_second, seconds=seconds, stay=stay, seed=seed)
    theatre.say(
        f"   refill makes {can:.2f} a second; {len(coming)} people come in {seconds:.0f} s, "
        f"one every {1 / per_second:.1f} s, and stay {stay:.0f} s"
    )
    await theatre.at_rest(step.warm)
    async with theatre.crowd(step.hub, theatre.people(len(coming))) as crowd:
        try:
            await crowd.register()
            run = await _measured(theatre, step, crowd, coming)
        finally:
            problem = await crowd.leave()
    facts = {"capacity_per_second": can, "per_second": per_second, "seed": seed, "stay": stay}
    return replace(run, facts={**run.facts, **facts}, problem=problem)


async def _measured(theatre: Theatre, step: Step, crowd: Crowd, coming: Sequence[Arrival]) -> Run:
    idle = await bursts.idle_share()
    roots = bursts.parts(theatre.stack)
    before, by, began = machine.busy_seconds(), cpu.seconds(roots), time.monotonic()
    clock = Stopwatch()
    pairs = zip(crowd.visits, coming, strict=True)
    async with followed(theatre.stock, every_seconds=FOLLOW_SECONDS) as series:
        seen = await asyncio.gather(
            *(_visit(theatre, crowd, user, arrival, clock) for user, arrival in pairs)
        )
        # What refill owes for the last of them belongs to their cost.
        await theatre.stock.wait_rest(step.warm, seconds=bursts.REST_SECONDS)
    used, lasted = machine.busy_seconds() - before, time.monotonic() - began
    return Run(
        hub=step.hub,
        users=step.users,
        scene=step.scene,
        number=step.number,
        seen=tuple(seen),
        cpu_seconds=round(used, 3),
        idle_cpu_seconds=round(idle * lasted, 3),
        cpu_by=bursts.with_rest(cpu.used(by, cpu.seconds(roots)), used),
        stages=theatre.stages(list(crowd.visits)),
        warm=step.warm,
        cold=await theatre.stock.cold(list(crowd.visits)),
        series=series,
        facts={"seconds": round(lasted, 1)},
    )


async def _visit(
    theatre: Theatre, crowd: Crowd, user: str, arrival: Arrival, clock: Stopwatch
) -> Seen:
    await asyncio.sleep(max(0.0, arrival.at - clock() / 1000))
    seen = await crowd.start(user, clock)
    if seen.problem:
        theatre.say(f"   {seen.problem}")
    await asyncio.sleep(arrival.stays)
    await crowd.stop(user)
    return seen
