"""Bursts that do not find one warm notebook for each: a dry pool, and everybody once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from benchmarks import bursts
from benchmarks.bursts import Theatre
from benchmarks.people import Crowd, Seen
from benchmarks.runs import Run
from benchmarks.schedule import Step
from benchmarks.stock import followed

AGAIN_AFTER_SECONDS = 30.0
FOLLOW_SECONDS = 0.5


async def dry(theatre: Theatre, step: Step) -> Run:
    """More people than warm notebooks; beside it plain bursts on the other hubs."""
    if step.scene == "burst":
        return await bursts.burst(theatre, step)
    await theatre.at_rest(step.warm)
    async with _staying(theatre, step) as crowd:
        await crowd.register()
        async with followed(theatre.stock, every_seconds=FOLLOW_SECONDS) as series:
            run = await bursts.measured(theatre, step, crowd)
    return replace(run, seen=_clicked(run.seen, bursts.IDLE_SECONDS), series=series)


async def again(theatre: Theatre, step: Step) -> Run:
    """A burst, and another one 30 s after its click while the first people stay.

    Then refill has its time: from the second click until the pool is back at its target.
    """
    await theatre.at_rest(step.warm)
    async with _staying(theatre, step) as early, _staying(theatre, step) as late:
        await early.register()
        await late.register()
        async with followed(theatre.stock, every_seconds=FOLLOW_SECONDS) as series:
            later = asyncio.create_task(_later(late))
            run = await bursts.measured(theatre, step, early)
            second = await later
            run = await bursts.with_refill(theatre, step, run)
    began = bursts.IDLE_SECONDS
    return replace(
        run,
        seen=(*_clicked(run.seen, began), *_clicked(second, began + AGAIN_AFTER_SECONDS)),
        refill_seconds=round((run.refill_seconds or 0.0) - AGAIN_AFTER_SECONDS, 1),
        series=series,
    )


def _clicked(seen: Sequence[Seen], seconds: float) -> tuple[Seen, ...]:
    """The same people, so long after the scene's beginning."""
    return tuple(replace(each, clicked_s=round(seconds, 1)) for each in seen)


async def _later(crowd: Crowd) -> list[Seen]:
    # The first burst's look at the idle machine comes before its click.
    await asyncio.sleep(bursts.IDLE_SECONDS + AGAIN_AFTER_SECONDS)
    return await crowd.start_all()


@asynccontextmanager
async def _staying(theatre: Theatre, step: Step) -> AsyncIterator[Crowd]:
    """People who stay until the end of the scene, and then all leave."""
    async with theatre.crowd(step.hub, theatre.people(step.users)) as crowd:
        try:
            yield crowd
        finally:
            if problem := await crowd.leave():
                theatre.say(f"   {problem}")
