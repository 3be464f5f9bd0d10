"""One run on one hub: wait until all is at rest, let everybody click, look what became of it."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import aiohttp

from benchmarks import cpu, hubs, machine, stages
from benchmarks.hubs import Hub
from benchmarks.people import Crowd
from benchmarks.runs import Run
from benchmarks.schedule import Step
from benchmarks.stock import Stock
from controlplane.errors import GreenroomError
from scripts.stack import demo, processes, services
from scripts.stack.demo import Demo
from scripts.stack.proof import Unproven
from scripts.stack.screen import Trouble

AFTER_SECONDS = 5.0
IDLE_SECONDS = 5.0
REST_SECONDS = 900.0
TROUBLES = (Unproven, Trouble, GreenroomError, TimeoutError, aiohttp.ClientError, OSError)

Scene = Callable[["Theatre", Step], Awaitable[Run]]


@dataclass(frozen=True, kw_only=True)
class Theatre:
    """Where runs are made. `settle_seconds`: how long a quiet machine is waited for."""

    stack: Demo
    hubs: Mapping[str, Hub]
    stock: Stock
    say: Callable[[str], None]
    settle_seconds: float = 60.0

    def people(self, count: int) -> list[str]:
        """Names that nobody had before, each with a home.

        Letters and digits only: no spawner escapes them, so all mount the same directories.
        """
        mark = secrets.token_hex(3)
        names = [f"p{mark}n{at}" for at in range(count)]
        hubs.homes(self.stack, names)
        return names

    def crowd(self, hub: str, users: Sequence[str]) -> Crowd:
        """These people before this hub."""
        return Crowd(self.hubs[hub].url, self.stack.token, users)

    def stages(self, users: Sequence[str]) -> dict[str, dict[str, float]]:
        """Where the milliseconds of these people's starts were."""
        return stages.of(self.stack.place.log / "lease.log", users)

    async def at_rest(self, warm: int) -> None:
        """The pool is at this target and nothing moves, as far as the machine's others let it."""
        if "greenroom" in self.hubs:
            await self.stock.wait_rest(warm, seconds=REST_SECONDS)
        await machine.quiet(at_most_seconds=self.settle_seconds)

    async def resize(self, warm: int) -> None:
        """Another target, and warm notebooks up or down to it."""
        if "greenroom" in self.hubs:
            self.say(f"   {warm} notebooks are warmed")
            await asyncio.to_thread(hubs.resize, self.stack, warm)
            await self.stock.wait_rest(warm, seconds=REST_SECONDS)


async def burst(theatre: Theatre, step: Step) -> Run:
    """Everybody clicks at once, leaves when the pool is full again; what it came to.

    Where memory does not hold them all beside a full pool, they leave at once.
    """
    await theatre.at_rest(step.warm)
    users = theatre.people(step.users)
    async with theatre.crowd(step.hub, users) as crowd:
        try:
            await crowd.register()
            run = await measured(theatre, step, crowd)
            if step.hub == "greenroom" and machine.holds(step.users + step.warm):
                run = await with_refill(theatre, step, run)
        finally:
            problem = await crowd.leave()
    return replace(run, problem=problem) if problem else run


async def measured(theatre: Theatre, step: Step, crowd: Crowd) -> Run:
    """The starts, and the CPU from the first click to some seconds after the last ready."""
    idle = await idle_share()
    roots = parts(theatre.stack)
    before, by, began = machine.busy_seconds(), cpu.seconds(roots), time.monotonic()
    seen = await crowd.start_all(kernels=step.kernels)
    used_by = with_rest(cpu.used(by, cpu.seconds(roots)), machine.busy_seconds() - before)
    await asyncio.sleep(AFTER_SECONDS)
    used, lasted = machine.busy_seconds() - before, time.monotonic() - began
    run = Run(
        hub=step.hub,
        users=step.users,
        scene=step.scene,
        number=step.number,
        kernels=step.kernels,
        seen=tuple(seen),
        cpu_seconds=round(used, 3),
        idle_cpu_seconds=round(idle * lasted, 3),
        cpu_by=used_by,
        warm=step.warm if step.hub == "greenroom" else None,
        facts={"began": began},
    )
    if step.hub != "greenroom":
        return run
    users = [each.user for each in seen]
    return replace(run, stages=theatre.stages(users), cold=await theatre.stock.cold(users))


async def with_refill(theatre: Theatre, step: Step, run: Run) -> Run:
    """The same run, with the time from its first click until the pool was full again."""
    await theatre.stock.wait_ready(step.warm, seconds=REST_SECONDS)
    return replace(run, refill_seconds=round(time.monotonic() - float(run.facts["began"]), 1))


async def warm_up(theatre: Theatre, warm: int) -> None:
    """Everybody's first start on each hub pays for what is loaded once: nobody measures it."""
    for hub in theatre.hubs:
        users = theatre.people(2)
        async with theatre.crowd(hub, users) as crowd:
            try:
                await crowd.register()
                seen = await crowd.start_all()
            finally:
                await crowd.leave()
        problems = [each.problem for each in seen if each.problem]
        theatre.say(f"   warm-up of {hub}: {'; '.join(problems) or 'done'}")
    await theatre.at_rest(warm)


async def guarded(theatre: Theatre, step: Step, scene: Scene, *, until: float) -> Run:
    """The run, or what is known of a run that went wrong: shown, written down, never dropped.

    `until` is a monotonic second at which it is given up, whatever it still waits for.
    """
    try:
        async with asyncio.timeout(until - time.monotonic()):
            return await scene(theatre, step)
    except TROUBLES as error:
        said = str(error)[:500] or repr(error)
        return Run(
            hub=step.hub,
            users=step.users,
            scene=step.scene,
            number=step.number,
            kernels=step.kernels,
            problem=f"{type(error).__name__}: {said}",
        )


def parts(stack: Demo) -> dict[str, int]:
    """The pid of every process that belongs to this benchmark, containers left out."""
    names = [*processes.names(stack.place)]
    known = {name: processes.known(stack.place, name) for name in names}
    return {
        **{name: each.pid for name, each in known.items() if each is not None and each.alive},
        "people": os.getpid(),
    }


def with_rest(by: Mapping[str, float], used: float) -> dict[str, float]:
    """By process, with what none of them used: containers, the engine, the kernel, neighbours."""
    return {**by, "rest": round(max(0.0, used - sum(by.values())), 3)}


def control_plane(stack: Demo) -> dict[str, int]:
    """Agent, workers and services: the pid of each that runs."""
    ours = {*demo.WORKERS, *services.PRIVATE}
    return {name: pid for name, pid in parts(stack).items() if name in ours}


async def idle_share() -> float:
    """CPU seconds per second that the machine uses when nobody clicks."""
    before = machine.busy_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    return (machine.busy_seconds() - before) / IDLE_SECONDS
